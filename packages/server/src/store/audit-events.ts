import type { Kysely, Selectable } from "kysely";
import type { Schema } from "./schema.js";

export type AuditEventRow = Selectable<Schema["audit_events"]>;

export interface AuditEventQuery {
	/** Undefined: all teams, and what is no team's. */
	readonly teamId: string | undefined;
	readonly devboxId?: string | undefined;
	readonly userId?: string | undefined;
	/** One of these. */
	readonly actions?: readonly string[] | undefined;
	readonly outcome?: string | undefined;
	/** Ids sort by time: this one and later ones. */
	readonly fromId?: string | undefined;
	/** Those before this one. */
	readonly beforeId?: string | undefined;
	readonly limit: number;
}

/** All or none. An event without a team gets its devbox's. */
export async function insertAuditEvents(db: Kysely<Schema>, rows: readonly AuditEventRow[]): Promise<void> {
	const teamOf = (devboxId: string) => db.selectFrom("devboxes").select("team_id").where("id", "=", devboxId);
	const values = rows.map((row) => ({
		...row,
		team_id: row.team_id ?? (row.devbox_id === null ? null : teamOf(row.devbox_id)),
	}));
	await db.insertInto("audit_events").values(values).execute();
}

/** Newest first. */
export function listAuditEvents(db: Kysely<Schema>, query: AuditEventQuery): Promise<AuditEventRow[]> {
	const { teamId, devboxId, userId, actions, outcome, fromId, beforeId, limit } = query;
	let events = db.selectFrom("audit_events").selectAll().orderBy("id", "desc").limit(limit);
	if (teamId !== undefined) events = events.where("team_id", "=", teamId);
	if (devboxId !== undefined) events = events.where("devbox_id", "=", devboxId);
	if (userId !== undefined) events = events.where("user_id", "=", userId);
	if (actions !== undefined) events = events.where("action", "in", actions);
	if (outcome !== undefined) events = events.where("outcome", "=", outcome);
	if (fromId !== undefined) events = events.where("id", ">=", fromId);
	if (beforeId !== undefined) events = events.where("id", "<", beforeId);
	return events.execute();
}

/** The oldest of those before this one, so many at most: a long deletion would hold up everybody. Returns how many. */
export async function deleteAuditEvents(db: Kysely<Schema>, beforeId: string, limit: number): Promise<number> {
	const oldest = db.selectFrom("audit_events").select("id").where("id", "<", beforeId).orderBy("id").limit(limit);
	const deletion = db.deleteFrom("audit_events").where("id", "in", oldest);
	return Number((await deletion.executeTakeFirstOrThrow()).numDeletedRows);
}
