import { setImmediate } from "node:timers/promises";
import type { Logger } from "pino";
import { monotonicFactory } from "ulid";
import { InvalidError, UnavailableError } from "../errors.js";
import { type AuditEventRow, deleteAuditEvents, insertAuditEvents, listAuditEvents } from "../store/audit-events.js";
import type { Store } from "../store/index.js";
import { type AuditEvent, type AuditOutcome, type AuditSink, auditActions } from "./event.js";
import { type AuditRecord, firstIdAt, toRecord, toRow } from "./record.js";

export interface AuditOptions {
	readonly store: Pick<Store, "db">;
	readonly log: Logger;
	/** Events are kept for so many days; 0 is for ever. */
	readonly retentionDays: number;
	/** Epoch milliseconds. */
	readonly now?: () => number;
}

export interface AuditQuery {
	/** Undefined: all teams, and what is no team's. */
	readonly teamId: string | undefined;
	readonly devboxId?: string | undefined;
	readonly userId?: string | undefined;
	/** One, or what stands before its dot: `ssh` is all that begins with `ssh.`. */
	readonly action?: string | undefined;
	readonly outcome?: AuditOutcome | undefined;
	/** Epoch milliseconds; from this one ... */
	readonly sinceMs?: number | undefined;
	/** ... to before this one. */
	readonly untilMs?: number | undefined;
	/** The id of the last event of the page before. */
	readonly startingAfter?: string | undefined;
	readonly limit: number;
}

/** Why an event was not stored. */
type Loss = "store_failed" | "too_many_waiting" | "too_many_a_minute";

interface Waiting {
	readonly row: AuditEventRow;
	readonly settle?: (error?: unknown) => void;
}

/** SQLite blocks the daemon while it commits: many events share one commit. */
const batchMs = 100;
const batchSize = 100;
/** Events that wait for the store; more are only logged. */
const maxWaiting = 10_000;
/**
 * Of each action so many a minute that strangers can cause: more are only logged, so that they neither fill the disk nor
 * take the place of what happened. Not of all together: whoever knocks at one door must not hide what is denied at another.
 */
const maxByStrangers = 600;
const minuteMs = 60_000;
const sweepMs = 60 * minuteMs;
const dayMs = 24 * 60 * minuteMs;

/** Who did what, from where and for how long, in the store. */
export class Audit implements AuditSink {
	readonly #options: AuditOptions;
	readonly #now: () => number;
	readonly #nextUlid = monotonicFactory();
	readonly #lost: Record<Loss, number> = { store_failed: 0, too_many_waiting: 0, too_many_a_minute: 0 };
	readonly #byStrangers = { minute: 0, counts: new Map<string, number>() };
	#waiting: Waiting[] = [];
	/** One flush after the other. Never rejects. */
	#flushes: Promise<void> = Promise.resolve();
	#timer: NodeJS.Timeout | undefined;
	#sweep: NodeJS.Timeout | undefined;

	constructor(options: AuditOptions) {
		this.#options = Object.freeze({ ...options });
		this.#now = options.now ?? Date.now;
	}

	/** Events that are in the log only, since the start. */
	get lost(): Readonly<Record<Loss, number>> {
		return this.#lost;
	}

	record(event: AuditEvent): void {
		const row = this.#row(event);
		if (canBeStrangers(row) && this.#tooMany(row)) this.#lose([row], "too_many_a_minute");
		else if (this.#waiting.length >= maxWaiting) this.#lose([row], "too_many_waiting");
		else this.#enqueue({ row });
	}

	write(event: AuditEvent): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#waiting.push({
				row: this.#row(event),
				settle: (cause) => {
					if (cause === undefined) resolve();
					else reject(new UnavailableError("this could not be recorded in the audit log", { cause }));
				},
			});
			void this.flush();
		});
	}

	/** Newest first. Throws `InvalidError` for an action that is none. */
	async list(query: AuditQuery): Promise<{ events: AuditRecord[]; hasMore: boolean }> {
		const { action, sinceMs, untilMs, startingAfter, limit, ...filters } = query;
		await this.flush();
		const before = [startingAfter, untilMs === undefined ? undefined : firstIdAt(untilMs)].filter(
			(id) => id !== undefined,
		);
		const rows = await listAuditEvents(this.#options.store.db, {
			...filters,
			actions: action === undefined ? undefined : matching(action),
			fromId: sinceMs === undefined ? undefined : firstIdAt(sinceMs),
			beforeId: before.sort()[0],
			limit: limit + 1,
		});
		return { events: rows.slice(0, limit).map(toRecord), hasMore: rows.length > limit };
	}

	/** Resolves when everything that has been recorded is in the store, or lost. Never rejects. */
	flush(): Promise<void> {
		this.#flushes = this.#flushes.then(() => this.#writeWaiting());
		return this.#flushes;
	}

	/** Deletes what is too old, once an hour, until `close`. */
	sweepHourly(): void {
		this.#sweep ??= setInterval(() => {
			this.deleteExpired().catch((err) => this.#options.log.error({ err }, "old audit events could not be deleted"));
		}, sweepMs).unref();
	}

	async deleteExpired(): Promise<void> {
		const { store, retentionDays } = this.#options;
		if (retentionDays === 0) return;
		const before = firstIdAt(this.#now() - retentionDays * dayMs);
		// Others have their turn between two pieces.
		while ((await deleteAuditEvents(store.db, before, 1000)) > 0) await setImmediate();
	}

	/** Stores what waits. Twice is fine. */
	async close(): Promise<void> {
		clearInterval(this.#sweep);
		await this.flush();
	}

	#row(event: AuditEvent): AuditEventRow {
		const nowMs = this.#now();
		return toRow(event, this.#nextUlid(nowMs), nowMs);
	}

	#enqueue(waiting: Waiting): void {
		this.#waiting.push(waiting);
		if (this.#waiting.length === batchSize) void this.flush();
		this.#timer ??= setTimeout(() => void this.flush(), batchMs).unref();
	}

	async #writeWaiting(): Promise<void> {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		while (this.#waiting.length > 0) {
			await this.#writeBatch(this.#waiting.splice(0, batchSize));
			await setImmediate();
		}
	}

	async #writeBatch(batch: readonly Waiting[]): Promise<void> {
		const rows = batch.map(({ row }) => row);
		try {
			await insertAuditEvents(this.#options.store.db, rows);
			for (const { settle } of batch) settle?.();
		} catch (error) {
			this.#lose(rows, "store_failed", error);
			for (const { settle } of batch) settle?.(error);
		}
	}

	#tooMany({ action, at_ms }: AuditEventRow): boolean {
		const { counts } = this.#byStrangers;
		const minute = Math.floor(at_ms / minuteMs);
		if (minute !== this.#byStrangers.minute) counts.clear();
		this.#byStrangers.minute = minute;
		const count = (counts.get(action) ?? 0) + 1;
		counts.set(action, count);
		return count > maxByStrangers;
	}

	#lose(rows: readonly AuditEventRow[], loss: Loss, err?: unknown): void {
		this.#lost[loss] += rows.length;
		for (const auditEvent of rows) this.#options.log.error({ err, auditEvent, loss }, "an audit event was not stored");
	}
}

/** Nobody had to be let in for it: it was denied, or somebody came whom nobody here knows. */
function canBeStrangers({ outcome, peer_address, user_id }: AuditEventRow): boolean {
	return outcome !== "ok" || (peer_address !== null && user_id === null);
}

function matching(action: string): readonly string[] {
	const actions = auditActions.filter((known) => known === action || known.startsWith(`${action}.`));
	if (actions.length > 0) return actions;
	throw new InvalidError("action", "must be an action such as ssh.session, or what stands before its dot, such as ssh");
}
