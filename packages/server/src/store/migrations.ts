import type { SchemaModule } from "kysely";

export interface Migration {
	/** Its place in the list, from 1. A released migration is never changed: the next one corrects it. */
	readonly version: number;
	readonly name: string;
	up(schema: SchemaModule): Promise<void>;
}

/** In order. Column types are the ones that SQLite and PostgreSQL share: text, bigint (milliseconds), integer (0 and 1). */
export const migrations: readonly Migration[] = [
	{
		version: 1,
		name: "devboxes and accounts",
		up: async (schema) => {
			await createAccounts(schema);
			await createDevboxes(schema);
			await createIdempotencyKeys(schema);
		},
	},
];

async function createAccounts(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("installation")
		.addColumn("key", "text", (c) => c.notNull().primaryKey())
		.addColumn("value", "text", (c) => c.notNull())
		.execute();
	for (const table of ["users", "teams"]) {
		await schema
			.createTable(table)
			.addColumn("id", "text", (c) => c.notNull().primaryKey())
			.addColumn("name", "text", (c) => c.notNull().unique())
			.addColumn("created_at_ms", "bigint", (c) => c.notNull())
			.execute();
	}
	await schema
		.createTable("memberships")
		.addColumn("team_id", "text", (c) => c.notNull().references("teams.id"))
		.addColumn("user_id", "text", (c) => c.notNull().references("users.id"))
		.addColumn("role", "text", (c) => c.notNull())
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.addPrimaryKeyConstraint("memberships_pk", ["team_id", "user_id"])
		.execute();
	await schema
		.createTable("api_keys")
		.addColumn("id", "text", (c) => c.notNull().primaryKey())
		.addColumn("key_hash", "text", (c) => c.notNull().unique())
		.addColumn("name", "text", (c) => c.notNull())
		.addColumn("user_id", "text", (c) => c.notNull().references("users.id"))
		.addColumn("team_id", "text", (c) => c.notNull().references("teams.id"))
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.addColumn("revoked_at_ms", "bigint")
		.execute();
	await schema.createIndex("api_keys_team").on("api_keys").columns(["team_id", "id"]).execute();
}

async function createDevboxes(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("devboxes")
		.addColumn("id", "text", (c) => c.notNull().primaryKey())
		.addColumn("team_id", "text", (c) => c.notNull().references("teams.id"))
		.addColumn("created_by", "text", (c) => c.notNull())
		.addColumn("name", "text")
		.addColumn("status", "text", (c) => c.notNull())
		.addColumn("runtime", "text", (c) => c.notNull())
		.addColumn("launch_parameters", "text", (c) => c.notNull())
		.addColumn("metadata", "text", (c) => c.notNull())
		.addColumn("boot_sealed", "text", (c) => c.notNull())
		.addColumn("ssh_user", "text", (c) => c.notNull())
		.addColumn("ssh_public_key", "text", (c) => c.notNull())
		.addColumn("ssh_private_key_sealed", "text", (c) => c.notNull())
		.addColumn("host_public_key", "text", (c) => c.notNull())
		.addColumn("host_private_key_sealed", "text", (c) => c.notNull())
		.addColumn("failure_reason", "text")
		.addColumn("shutdown_reason", "text")
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.addColumn("ended_at_ms", "bigint")
		.addColumn("running_since_ms", "bigint")
		.addColumn("ran_before_ms", "bigint", (c) => c.notNull())
		.addColumn("generation", "integer", (c) => c.notNull())
		.addColumn("initialized", "integer", (c) => c.notNull())
		.execute();
	await schema.createIndex("devboxes_team").on("devboxes").columns(["team_id", "id"]).execute();
	await schema.createIndex("devboxes_status").on("devboxes").column("status").execute();

	await schema
		.createTable("state_transitions")
		.addColumn("devbox_id", "text", (c) => c.notNull().references("devboxes.id").onDelete("cascade"))
		.addColumn("seq", "integer", (c) => c.notNull())
		.addColumn("status", "text", (c) => c.notNull())
		.addColumn("at_ms", "bigint", (c) => c.notNull())
		.addColumn("failure_reason", "text")
		.addPrimaryKeyConstraint("state_transitions_pk", ["devbox_id", "seq"])
		.execute();
	await schema
		.createTable("tunnels")
		.addColumn("devbox_id", "text", (c) => c.notNull().primaryKey().references("devboxes.id").onDelete("cascade"))
		.addColumn("key", "text", (c) => c.notNull().unique())
		.addColumn("auth_mode", "text", (c) => c.notNull())
		.addColumn("token_sealed", "text")
		.addColumn("http_keep_alive", "integer", (c) => c.notNull())
		.addColumn("wake_on_http", "integer", (c) => c.notNull())
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.execute();
}

/** No foreign keys: a record of an answered call may outlive what it was about. */
async function createIdempotencyKeys(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("idempotency_keys")
		.addColumn("api_key_id", "text", (c) => c.notNull())
		.addColumn("key", "text", (c) => c.notNull())
		.addColumn("route", "text", (c) => c.notNull())
		.addColumn("devbox_id", "text")
		.addColumn("response_status", "integer")
		.addColumn("response_body_sealed", "text")
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.addPrimaryKeyConstraint("idempotency_keys_pk", ["api_key_id", "key"])
		.execute();
	await schema.createIndex("idempotency_keys_created").on("idempotency_keys").column("created_at_ms").execute();
}
