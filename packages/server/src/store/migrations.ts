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
	{
		version: 2,
		name: "tunnel settings and share links",
		up: async (schema) => {
			await extendTunnels(schema);
			await createShareLinks(schema);
		},
	},
	{
		version: 3,
		name: "SSH keys of users",
		up: async (schema) => {
			await createSshKeys(schema);
			await createSshKeyFetches(schema);
			await extendTeams(schema);
			await extendDevboxes(schema);
		},
	},
	{ version: 4, name: "audit events", up: createAuditEvents },
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

/** The tunnels that are there keep behaving as they did. One statement a column: SQLite adds no two at once. */
async function extendTunnels(schema: SchemaModule): Promise<void> {
	const added = [
		["wake_mode", "text", "retry"],
		["cors_origins", "text", "[]"],
		["loopback_ports", "text", "[]"],
		["port_rules", "text", "{}"],
		["generation", "integer", 1],
	] as const;
	for (const [name, type, initial] of added) {
		await schema
			.alterTable("tunnels")
			.addColumn(name, type, (c) => c.notNull().defaultTo(initial))
			.execute();
	}
}

async function createShareLinks(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("share_links")
		.addColumn("id", "text", (c) => c.notNull().primaryKey())
		.addColumn("devbox_id", "text", (c) => c.notNull().references("devboxes.id").onDelete("cascade"))
		.addColumn("port", "integer", (c) => c.notNull())
		.addColumn("path", "text", (c) => c.notNull())
		.addColumn("created_by", "text", (c) => c.notNull())
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.addColumn("expires_at_ms", "bigint", (c) => c.notNull())
		.execute();
	await schema.createIndex("share_links_devbox").on("share_links").columns(["devbox_id", "id"]).execute();
	await schema.createIndex("share_links_expiry").on("share_links").column("expires_at_ms").execute();
}

async function createSshKeys(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("ssh_keys")
		.addColumn("id", "text", (c) => c.notNull().primaryKey())
		.addColumn("user_id", "text", (c) => c.notNull().references("users.id"))
		.addColumn("name", "text", (c) => c.notNull())
		.addColumn("public_key", "text", (c) => c.notNull())
		.addColumn("key_type", "text", (c) => c.notNull())
		.addColumn("fingerprint_sha256", "text", (c) => c.notNull().unique())
		.addColumn("comment", "text", (c) => c.notNull())
		.addColumn("created_at_ms", "bigint", (c) => c.notNull())
		.addColumn("updated_at_ms", "bigint", (c) => c.notNull())
		.execute();
	await schema.createIndex("ssh_keys_user").on("ssh_keys").columns(["user_id", "id"]).execute();
}

/** No foreign key to the user: that somebody has had a key stays true when they are deleted. */
async function createSshKeyFetches(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("ssh_key_fetches")
		.addColumn("devbox_id", "text", (c) => c.notNull().references("devboxes.id").onDelete("cascade"))
		.addColumn("user_id", "text", (c) => c.notNull())
		.addColumn("at_ms", "bigint", (c) => c.notNull())
		.addPrimaryKeyConstraint("ssh_key_fetches_pk", ["devbox_id", "user_id"])
		.execute();
}

async function extendTeams(schema: SchemaModule): Promise<void> {
	await schema
		.alterTable("teams")
		.addColumn("passthrough_enabled", "integer", (c) => c.notNull().defaultTo(1))
		.execute();
}

async function extendDevboxes(schema: SchemaModule): Promise<void> {
	for (const name of ["expires_at_ms", "hard_expires_at_ms"]) {
		await schema.alterTable("devboxes").addColumn(name, "bigint").execute();
	}
	await schema.createIndex("devboxes_expiry").on("devboxes").columns(["status", "expires_at_ms"]).execute();
	await schema.createIndex("devboxes_hard_expiry").on("devboxes").column("hard_expires_at_ms").execute();
}

/** Ids sort by time: each index also has its events in order. */
async function createAuditEvents(schema: SchemaModule): Promise<void> {
	await schema
		.createTable("audit_events")
		.addColumn("id", "text", (c) => c.notNull().primaryKey())
		.addColumn("at_ms", "bigint", (c) => c.notNull())
		.addColumn("action", "text", (c) => c.notNull())
		.addColumn("outcome", "text", (c) => c.notNull())
		.addColumn("team_id", "text")
		.addColumn("user_id", "text")
		.addColumn("api_key_id", "text")
		.addColumn("ssh_key_id", "text")
		.addColumn("devbox_id", "text")
		.addColumn("peer_address", "text")
		.addColumn("duration_ms", "bigint")
		.addColumn("details", "text", (c) => c.notNull())
		.execute();
	for (const owner of ["team", "user", "devbox"]) {
		await schema
			.createIndex(`audit_events_${owner}`)
			.on("audit_events")
			.columns([`${owner}_id`, "id"])
			.execute();
	}
}
