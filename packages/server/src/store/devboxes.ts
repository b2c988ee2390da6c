import type { Insertable, Kysely, Selectable, Updateable } from "kysely";
import type { Schema } from "./schema.js";
import { deleteShareLinksOf, listShareLinks, type ShareLinkRow } from "./share-links.js";

export type DevboxRow = Selectable<Schema["devboxes"]>;
export type NewDevboxRow = Insertable<Schema["devboxes"]>;
export type TransitionRow = Selectable<Schema["state_transitions"]>;
export type TunnelRow = Selectable<Schema["tunnels"]>;

/** Everything there is to say of one devbox. */
export interface DevboxRecord {
	readonly devbox: DevboxRow;
	readonly transitions: readonly TransitionRow[];
	readonly tunnel: TunnelRow | null;
	/** Those that have not expired, oldest first. */
	readonly shareLinks: readonly ShareLinkRow[];
}

export async function insertDevbox(
	db: Kysely<Schema>,
	row: NewDevboxRow,
	tunnel: Omit<TunnelRow, "devbox_id"> | null,
): Promise<void> {
	await db.insertInto("devboxes").values(row).execute();
	await insertTransition(db, { devbox_id: row.id, seq: 0, status: row.status, at_ms: row.created_at_ms });
	if (tunnel) await insertTunnel(db, { devbox_id: row.id, ...tunnel });
}

/**
 * Moves a devbox from one of `from` to `to`: compare-and-set, with the transition's record in the same transaction.
 *
 * @returns the row after the change; undefined when the devbox was in none of the states
 */
export function transitDevbox(
	db: Kysely<Schema>,
	id: string,
	from: readonly string[],
	to: { readonly status: string; readonly atMs: number; readonly failureReason?: string | null },
	change: Updateable<Schema["devboxes"]> = {},
): Promise<DevboxRow | undefined> {
	return db.transaction().execute(async (trx) => {
		const row = await trx
			.updateTable("devboxes")
			.set({ ...change, status: to.status })
			.where("id", "=", id)
			.where("status", "in", from)
			.returningAll()
			.executeTakeFirst();
		if (!row) return undefined;
		const last = await trx
			.selectFrom("state_transitions")
			.select((eb) => eb.fn.max("seq").as("seq"))
			.where("devbox_id", "=", id)
			.executeTakeFirstOrThrow();
		await insertTransition(trx, {
			devbox_id: id,
			seq: Number(last.seq) + 1,
			status: to.status,
			at_ms: to.atMs,
			failure_reason: to.failureReason ?? null,
		});
		return row;
	});
}

export async function updateDevbox(
	db: Kysely<Schema>,
	id: string,
	change: Omit<Updateable<Schema["devboxes"]>, "status">,
): Promise<void> {
	await db.updateTable("devboxes").set(change).where("id", "=", id).execute();
}

export function findDevbox(db: Kysely<Schema>, id: string): Promise<DevboxRow | undefined> {
	return db.selectFrom("devboxes").selectAll().where("id", "=", id).executeTakeFirst();
}

export async function findDevboxIdByTunnelKey(db: Kysely<Schema>, key: string): Promise<string | undefined> {
	return (await db.selectFrom("tunnels").select("devbox_id").where("key", "=", key).executeTakeFirst())?.devbox_id;
}

/** Newest first: ids are ULIDs, so their order is that of creation. */
export function listDevboxes(
	db: Kysely<Schema>,
	query: {
		teamId: string;
		limit: number;
		startingAfter?: string | undefined;
		offset?: number | undefined;
		statuses?: readonly string[] | undefined;
	},
): Promise<DevboxRow[]> {
	let select = db.selectFrom("devboxes").selectAll().where("team_id", "=", query.teamId);
	if (query.startingAfter !== undefined) select = select.where("id", "<", query.startingAfter);
	if (query.statuses !== undefined) select = select.where("status", "in", query.statuses);
	return select
		.orderBy("id", "desc")
		.limit(query.limit)
		.offset(query.offset ?? 0)
		.execute();
}

export async function countDevboxes(
	db: Kysely<Schema>,
	query: { teamId?: string | undefined; statuses?: readonly string[] | undefined },
): Promise<number> {
	let select = db.selectFrom("devboxes").select((eb) => eb.fn.countAll().as("count"));
	if (query.teamId !== undefined) select = select.where("team_id", "=", query.teamId);
	if (query.statuses !== undefined) select = select.where("status", "in", query.statuses);
	return Number((await select.executeTakeFirstOrThrow()).count);
}

export async function countDevboxesByStatus(db: Kysely<Schema>): Promise<ReadonlyMap<string, number>> {
	const rows = await db
		.selectFrom("devboxes")
		.select((eb) => ["status", eb.fn.countAll().as("count")])
		.groupBy("status")
		.execute();
	return new Map(rows.map((row) => [row.status, Number(row.count)]));
}

export function listDevboxesByStatus(db: Kysely<Schema>, statuses: readonly string[]): Promise<DevboxRow[]> {
	return db.selectFrom("devboxes").selectAll().where("status", "in", statuses).orderBy("id").execute();
}

/** Adds transitions, tunnels and their links to rows, three queries for any number of them. */
export async function completeDevboxes(
	db: Kysely<Schema>,
	rows: readonly DevboxRow[],
	nowMs: number,
): Promise<DevboxRecord[]> {
	if (rows.length === 0) return [];
	const ids = rows.map((row) => row.id);
	const transitions = await db
		.selectFrom("state_transitions")
		.selectAll()
		.where("devbox_id", "in", ids)
		.orderBy("seq")
		.execute();
	const tunnels = await db.selectFrom("tunnels").selectAll().where("devbox_id", "in", ids).execute();
	const shareLinks = await listShareLinks(db, ids, nowMs);
	const tunnelOf = new Map(tunnels.map((tunnel) => [tunnel.devbox_id, tunnel]));
	const transitionsOf = new Map<string, TransitionRow[]>(ids.map((id) => [id, []]));
	for (const transition of transitions) transitionsOf.get(transition.devbox_id)?.push(transition);
	const shareLinksOf = new Map<string, ShareLinkRow[]>(ids.map((id) => [id, []]));
	for (const link of shareLinks) shareLinksOf.get(link.devbox_id)?.push(link);
	return rows.map((devbox) => ({
		devbox,
		transitions: transitionsOf.get(devbox.id) ?? [],
		tunnel: tunnelOf.get(devbox.id) ?? null,
		shareLinks: shareLinksOf.get(devbox.id) ?? [],
	}));
}

/** Replaces the tunnel that is there, and with it all links that let somebody in to that one. For use in a transaction. */
export async function putTunnel(db: Kysely<Schema>, row: TunnelRow): Promise<void> {
	await deleteTunnel(db, row.devbox_id);
	await insertTunnel(db, row);
}

/** With its links. For use in a transaction. */
export async function deleteTunnel(db: Kysely<Schema>, devboxId: string): Promise<void> {
	await deleteShareLinksOf(db, devboxId);
	await db.deleteFrom("tunnels").where("devbox_id", "=", devboxId).execute();
}

async function insertTunnel(db: Kysely<Schema>, row: TunnelRow): Promise<void> {
	await db.insertInto("tunnels").values(row).execute();
}

async function insertTransition(
	db: Kysely<Schema>,
	row: Omit<TransitionRow, "failure_reason"> & { failure_reason?: string | null },
): Promise<void> {
	await db
		.insertInto("state_transitions")
		.values({ failure_reason: null, ...row })
		.execute();
}
