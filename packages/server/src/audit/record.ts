import { encodeTime } from "ulid";
import type { AuditEventRow } from "../store/audit-events.js";
import type { AuditAction, AuditEvent, AuditOutcome } from "./event.js";

/** An event as it was stored. Null is: unknown, or there is none. */
export interface AuditRecord {
	/** `aud_` and 26 lowercase base32 characters (a ULID: ids sort by time). */
	readonly id: string;
	readonly atMs: number;
	readonly action: AuditAction;
	readonly outcome: AuditOutcome;
	readonly teamId: string | null;
	readonly userId: string | null;
	readonly apiKeyId: string | null;
	readonly sshKeyId: string | null;
	readonly devboxId: string | null;
	readonly peerAddress: string | null;
	readonly durationMs: number | null;
	readonly details: Readonly<Record<string, unknown>>;
}

function idOf(ulid: string): string {
	return `aud_${ulid.toLowerCase()}`;
}

/** The latest that a ULID can tell: 48 bits. */
const maxTimeMs = 2 ** 48 - 1;

/** Less than the id of every event of that millisecond or later, and greater than those before. */
export function firstIdAt(ms: number): string {
	return idOf(encodeTime(Math.min(Math.max(0, ms), maxTimeMs)));
}

export function toRow(
	{ action, outcome, actor, teamId, devboxId, durationMs, details }: AuditEvent,
	ulid: string,
	nowMs: number,
) {
	return {
		id: idOf(ulid),
		at_ms: nowMs,
		action,
		outcome: outcome ?? "ok",
		team_id: teamId ?? actor?.teamId ?? null,
		user_id: actor?.userId ?? null,
		api_key_id: actor?.apiKeyId ?? null,
		ssh_key_id: actor?.sshKeyId ?? null,
		devbox_id: devboxId === undefined ? null : cut(devboxId),
		peer_address: actor?.peerAddress?.replace(/^::ffff:/i, "") ?? null,
		duration_ms: durationMs === undefined ? null : Math.round(durationMs),
		details: JSON.stringify(bounded(details ?? {})),
	} satisfies AuditEventRow;
}

export function toRecord(row: AuditEventRow): AuditRecord {
	return {
		id: row.id,
		atMs: row.at_ms,
		action: row.action as AuditAction,
		outcome: row.outcome as AuditOutcome,
		teamId: row.team_id,
		userId: row.user_id,
		apiKeyId: row.api_key_id,
		sshKeyId: row.ssh_key_id,
		devboxId: row.devbox_id,
		peerAddress: row.peer_address,
		durationMs: row.duration_ms,
		details: JSON.parse(row.details),
	};
}

/** Of a text, and of a list: some come from strangers. */
const maxCharacters = 256;
const maxEntries = 100;

function bounded(details: NonNullable<AuditEvent["details"]>) {
	const entries = Object.entries(details).map(([name, value]) => {
		if (typeof value === "string") return [name, cut(value)];
		return [name, typeof value === "object" ? value.slice(0, maxEntries).map(cut) : value];
	});
	return Object.fromEntries(entries) as Record<string, unknown>;
}

function cut(text: string): string {
	return text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters - 1)}…`;
}
