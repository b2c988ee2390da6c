import type { Kysely } from "kysely";
import type { Schema } from "./schema.js";

/** Whether the team lets its devboxes be reached through the passthrough; false for one that is not there. */
export async function passthroughEnabled(db: Kysely<Schema>, teamId: string): Promise<boolean> {
	const team = await db.selectFrom("teams").select("passthrough_enabled").where("id", "=", teamId).executeTakeFirst();
	return team?.passthrough_enabled === 1;
}
