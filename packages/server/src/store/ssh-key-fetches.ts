import type { Kysely } from "kysely";
import type { Schema } from "./schema.js";

/**
 * Notes that a user gets the devbox's private key. Only for somebody who may enter the devbox, looked up in the same
 * statement: who has left the team meanwhile must not get the key behind its rotation.
 *
 * @returns whether it was noted; if not, the key is not to be handed out
 */
export async function noteSshKeyFetch(
	db: Kysely<Schema>,
	fetch: { readonly devboxId: string; readonly userId: string; readonly atMs: number },
): Promise<boolean> {
	const entitled = db
		.selectFrom("devboxes")
		.innerJoin("memberships", "memberships.team_id", "devboxes.team_id")
		.where("devboxes.id", "=", fetch.devboxId)
		.where("memberships.user_id", "=", fetch.userId)
		.where("memberships.role", "in", ["admin", "member"])
		.select((eb) => ["devboxes.id", "memberships.user_id", eb.val(fetch.atMs).as("at_ms")]);
	const noted = await db
		.insertInto("ssh_key_fetches")
		.columns(["devbox_id", "user_id", "at_ms"])
		.expression(entitled)
		.onConflict((conflict) => conflict.columns(["devbox_id", "user_id"]).doUpdateSet({ at_ms: fetch.atMs }))
		.executeTakeFirstOrThrow();
	return noted.numInsertedOrUpdatedRows === 1n;
}

/** Nobody has the devbox's key any more: it is another one, or gone. */
export async function forgetSshKeyFetches(db: Kysely<Schema>, devboxId: string): Promise<void> {
	await db.deleteFrom("ssh_key_fetches").where("devbox_id", "=", devboxId).execute();
}

/** Devboxes whose present key somebody has had who may not enter them (any more). */
export async function listExposedDevboxes(db: Kysely<Schema>): Promise<string[]> {
	const rows = await db
		.selectFrom("ssh_key_fetches")
		.innerJoin("devboxes", "devboxes.id", "ssh_key_fetches.devbox_id")
		.leftJoin("memberships", (join) =>
			join
				.onRef("memberships.team_id", "=", "devboxes.team_id")
				.onRef("memberships.user_id", "=", "ssh_key_fetches.user_id")
				.on("memberships.role", "in", ["admin", "member"]),
		)
		.where("memberships.user_id", "is", null)
		.where("devboxes.status", "not in", ["failure", "shutdown"])
		.select("devboxes.id")
		.distinct()
		.execute();
	return rows.map((row) => row.id);
}
