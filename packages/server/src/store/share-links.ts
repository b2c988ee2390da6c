import type { Kysely, Selectable } from "kysely";
import type { Schema } from "./schema.js";

export type ShareLinkRow = Selectable<Schema["share_links"]>;

export async function insertShareLink(db: Kysely<Schema>, row: ShareLinkRow): Promise<void> {
	await db.insertInto("share_links").values(row).execute();
}

/** Those that have not expired, oldest first: their ids are ULIDs. */
export function listShareLinks(
	db: Kysely<Schema>,
	devboxIds: readonly string[],
	nowMs: number,
): Promise<ShareLinkRow[]> {
	return db
		.selectFrom("share_links")
		.selectAll()
		.where("devbox_id", "in", devboxIds)
		.where("expires_at_ms", ">", nowMs)
		.orderBy("id")
		.execute();
}

/** False when there was none. */
export async function deleteShareLink(db: Kysely<Schema>, devboxId: string, id: string): Promise<boolean> {
	const deletion = db.deleteFrom("share_links").where("devbox_id", "=", devboxId).where("id", "=", id);
	return (await deletion.executeTakeFirst()).numDeletedRows > 0n;
}

export async function deleteShareLinksOf(db: Kysely<Schema>, devboxId: string): Promise<void> {
	await db.deleteFrom("share_links").where("devbox_id", "=", devboxId).execute();
}

/** @returns what was deleted */
export function deleteExpiredShareLinks(db: Kysely<Schema>, nowMs: number): Promise<ShareLinkRow[]> {
	return db.deleteFrom("share_links").where("expires_at_ms", "<=", nowMs).returningAll().execute();
}

/** When the next one expires; undefined when there is none. */
export async function nextShareLinkExpiry(db: Kysely<Schema>): Promise<number | undefined> {
	const next = db.selectFrom("share_links").select((eb) => eb.fn.min<number | null>("expires_at_ms").as("ms"));
	return (await next.executeTakeFirstOrThrow()).ms ?? undefined;
}
