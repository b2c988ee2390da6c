import type { Kysely } from "kysely";
import type { Schema } from "./schema.js";

/** Devboxes that are to be suspended, and those to be shut down, because their time is over. */
export async function listExpiredDevboxes(
	db: Kysely<Schema>,
	nowMs: number,
): Promise<{ readonly suspend: readonly string[]; readonly shutdown: readonly string[] }> {
	const devboxes = db.selectFrom("devboxes").select("id");
	const soft = await devboxes.where("status", "=", "running").where("expires_at_ms", "<=", nowMs).execute();
	const hard = await devboxes.where("hard_expires_at_ms", "<=", nowMs).execute();
	return { suspend: soft.map((row) => row.id), shutdown: hard.map((row) => row.id) };
}

/** When the next one's time is over; undefined when there is none. */
export async function nextDevboxExpiry(db: Kysely<Schema>): Promise<number | undefined> {
	const devboxes = db.selectFrom("devboxes");
	const soft = await devboxes
		.where("status", "=", "running")
		.select((eb) => eb.fn.min<number | null>("expires_at_ms").as("ms"))
		.executeTakeFirstOrThrow();
	const hard = await devboxes
		.select((eb) => eb.fn.min<number | null>("hard_expires_at_ms").as("ms"))
		.executeTakeFirstOrThrow();
	const times = [soft.ms, hard.ms].filter((ms) => ms !== null);
	return times.length > 0 ? Math.min(...times) : undefined;
}
