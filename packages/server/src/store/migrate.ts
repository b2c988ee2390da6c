import type { Kysely } from "kysely";
import type { Logger } from "pino";
import { StoreError } from "../errors.js";
import { type Migration, migrations } from "./migrations.js";
import type { Schema } from "./schema.js";

interface WithMigrations extends Schema {
	schema_migrations: { version: number; name: string; applied_at_ms: number };
}

/**
 * Brings the schema up to date: each missing migration in a transaction of its own, with the note that it ran, so that a
 * crash leaves it done or not begun. (Kysely's own Migrator does not use transactions on SQLite.)
 * Throws `StoreError` `newer_schema` when a newer Gangway has been here.
 */
export async function migrate(
	db: Kysely<Schema>,
	log?: Pick<Logger, "info">,
	list: readonly Migration[] = migrations,
): Promise<void> {
	const tables = db as unknown as Kysely<WithMigrations>;
	await db.schema
		.createTable("schema_migrations")
		.ifNotExists()
		.addColumn("version", "integer", (c) => c.notNull().primaryKey())
		.addColumn("name", "text", (c) => c.notNull())
		.addColumn("applied_at_ms", "bigint", (c) => c.notNull())
		.execute();
	const applied = await tables.selectFrom("schema_migrations").select("version").execute();
	const present = Math.max(0, ...applied.map((row) => row.version));
	if (present > list.length) {
		throw new StoreError(
			"newer_schema",
			`the store has schema ${present}, this version of gangway knows up to ${list.length}: run the newer version, or restore a backup`,
		);
	}
	for (const { version, name, up } of list.slice(present)) {
		await tables.transaction().execute(async (trx) => {
			await up(trx.schema);
			await trx.insertInto("schema_migrations").values({ version, name, applied_at_ms: Date.now() }).execute();
		});
		log?.info({ version, migration: name }, "store migrated");
	}
}
