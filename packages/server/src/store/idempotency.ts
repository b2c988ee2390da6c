import type { ExpressionBuilder, Kysely } from "kysely";
import type { Schema } from "./schema.js";
import type { Seal } from "./seal.js";
import type { Store } from "./store.js";

/** How long a repeated call gets the first one's answer. */
const KEPT_MS = 24 * 60 * 60 * 1000;
const SWEEP_MS = 60 * 60 * 1000;

/** One call of one client. */
export interface IdempotencyKey {
	readonly apiKeyId: string;
	/** The client's `x-request-id`. */
	readonly key: string;
}

export type Claim =
	/** This call is the first: do the work, then `finish` or `release`. */
	| { readonly state: "new" }
	/** There was one before that has no answer yet: it is at work, or the daemon died. `devboxId` is what it had made. */
	| { readonly state: "unfinished"; readonly route: string; readonly devboxId: string | null }
	/** There was one before. With another `route` than this call's: refuse. */
	| { readonly state: "finished"; readonly route: string; readonly answer: Answer };

/** A response that can be given again. */
export interface Answer {
	readonly status: number;
	readonly body: string;
}

/** Remembers calls by the client's request id, so that a repeated POST does its work once. */
export class IdempotencyKeys {
	readonly #store: Pick<Store, "db" | "transaction">;
	readonly #seal: Seal;
	readonly #now: () => number;
	#sweep: NodeJS.Timeout | undefined;

	constructor(store: Pick<Store, "db" | "transaction">, seal: Seal, now: () => number = Date.now) {
		this.#store = store;
		this.#seal = seal;
		this.#now = now;
	}

	/** Deletes what is too old, once an hour, until `close`. */
	sweepHourly(onError: (error: unknown) => void): void {
		this.#sweep ??= setInterval(() => void this.deleteExpired().catch(onError), SWEEP_MS).unref();
	}

	close(): void {
		clearInterval(this.#sweep);
	}

	/** Of several concurrent calls with one key, exactly one gets `new`. `route` is the method and the path. */
	async claim(id: IdempotencyKey, route: string): Promise<Claim> {
		return this.#store.transaction(async (trx) => {
			const now = this.#now();
			await trx
				.deleteFrom("idempotency_keys")
				.where(isCall(id))
				.where("created_at_ms", "<=", now - KEPT_MS)
				.execute();
			const inserted = await trx
				.insertInto("idempotency_keys")
				.values({
					api_key_id: id.apiKeyId,
					key: id.key,
					route,
					devbox_id: null,
					response_status: null,
					response_body_sealed: null,
					created_at_ms: now,
				})
				.onConflict((conflict) => conflict.columns(["api_key_id", "key"]).doNothing())
				.executeTakeFirst();
			if (inserted.numInsertedOrUpdatedRows === 1n) return { state: "new" };
			const row = await trx.selectFrom("idempotency_keys").selectAll().where(isCall(id)).executeTakeFirstOrThrow();
			return this.#found(id, row);
		});
	}

	/** In the transaction that makes the devbox, so that a retry after a crash finds it and makes no second one. */
	async attach(trx: Kysely<Schema>, id: IdempotencyKey, devboxId: string): Promise<void> {
		await trx.updateTable("idempotency_keys").set({ devbox_id: devboxId }).where(isCall(id)).execute();
	}

	async finish(id: IdempotencyKey, answer: Answer): Promise<void> {
		const response_body_sealed = this.#seal.seal(answer.body, place(id));
		const set = { response_status: answer.status, response_body_sealed };
		await this.#store.db.updateTable("idempotency_keys").set(set).where(isCall(id)).execute();
	}

	/** The call failed: the client may try it again. An answered call stays, and one that made a devbox: never make it twice. */
	async release(id: IdempotencyKey): Promise<void> {
		await this.#store.db
			.deleteFrom("idempotency_keys")
			.where(isCall(id))
			.where("response_status", "is", null)
			.where("devbox_id", "is", null)
			.execute();
	}

	/** Deletes what is older than a day; returns how many. */
	async deleteExpired(): Promise<number> {
		const { numDeletedRows } = await this.#store.db
			.deleteFrom("idempotency_keys")
			.where("created_at_ms", "<=", this.#now() - KEPT_MS)
			.executeTakeFirstOrThrow();
		return Number(numDeletedRows);
	}

	#found(id: IdempotencyKey, row: Schema["idempotency_keys"]): Claim {
		const { route, devbox_id: devboxId, response_status: status, response_body_sealed: sealed } = row;
		if (status === null || sealed === null) return { state: "unfinished", route, devboxId };
		return { state: "finished", route, answer: { status, body: this.#seal.open(sealed, place(id)) } };
	}
}

function isCall(id: IdempotencyKey) {
	return (eb: ExpressionBuilder<Schema, "idempotency_keys">) => eb.and({ api_key_id: id.apiKeyId, key: id.key });
}

function place({ apiKeyId, key }: IdempotencyKey) {
	return { table: "idempotency_keys", column: "response_body_sealed", row: JSON.stringify([apiKeyId, key]) };
}
