import { join } from "node:path";
import { Kysely, sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { migrate } from "./migrate.js";
import { type Migration, migrations } from "./migrations.js";
import type { Schema } from "./schema.js";
import { sqlite } from "./sqlite.js";
import { openTestStore, type TestStore, temporaryDirectory } from "./store.fixture.js";

async function names(store: TestStore, type: "table" | "index"): Promise<string[]> {
	const { rows } = await sql<{ name: string }>`select name from sqlite_master where type = ${type}`.execute(store.db);
	return rows.map((row) => row.name);
}

/** A database as an earlier version left it. */
async function databaseOfVersion(version: number): Promise<Kysely<Schema>> {
	const db = new Kysely<Schema>({ dialect: sqlite(join(temporaryDirectory(), "old.db")).dialect });
	onTestFinished(() => db.destroy());
	await migrate(db, undefined, migrations.slice(0, version));
	return db;
}

const table = (name: string, after?: () => void): Migration => ({
	version: migrations.length + 1,
	name,
	up: async (schema) => {
		await schema.createTable(name).addColumn("id", "text").execute();
		after?.();
	},
});

test("versions count from 1 without gaps", () => {
	expect(migrations.map((migration) => migration.version)).toEqual(migrations.map((_, index) => index + 1));
});

test("makes every table of the schema", async () => {
	const store = await openTestStore();
	expect(await names(store, "table")).toEqual(
		expect.arrayContaining([
			"installation",
			"users",
			"teams",
			"memberships",
			"api_keys",
			"ssh_keys",
			"ssh_key_fetches",
			"devboxes",
			"state_transitions",
			"tunnels",
			"share_links",
			"idempotency_keys",
		]),
	);
});

test("runs what is missing, once", async () => {
	const store = await openTestStore();
	const list = [...migrations, table("later")];
	await migrate(store.db, undefined, list);
	await migrate(store.db, undefined, list);
	expect(await names(store, "table")).toContain("later");
});

test("a migration that fails leaves nothing and can run again", async () => {
	const store = await openTestStore();
	const failing = table("later", () => {
		throw new Error("no");
	});
	await expect(migrate(store.db, undefined, [...migrations, failing])).rejects.toThrow("no");
	expect(await names(store, "table")).not.toContain("later");
	await migrate(store.db, undefined, [...migrations, table("later")]);
	expect(await names(store, "table")).toContain("later");
});

test("version 2: tunnels that are there behave as they did, and have no links", async () => {
	const db = await databaseOfVersion(1);
	await sql`insert into teams values ('team_1', 'one', 0)`.execute(db);
	await sql`insert into devboxes values ('dbx_1', 'team_1', 'usr_1', null, 'running', 'linux', '{}', '{}', '', 'user', '', '', '', '', null, null, 1, null, 1, 0, 1, 1)`.execute(
		db,
	);
	await sql`insert into tunnels values ('dbx_1', 'k', 'authenticated', 'sealed', 1, 0, 5)`.execute(db);
	await migrate(db);
	expect(await db.selectFrom("tunnels").selectAll().execute()).toEqual([
		{
			devbox_id: "dbx_1",
			key: "k",
			auth_mode: "authenticated",
			token_sealed: "sealed",
			http_keep_alive: 1,
			wake_on_http: 0,
			created_at_ms: 5,
			wake_mode: "retry",
			cors_origins: "[]",
			loopback_ports: "[]",
			port_rules: "{}",
			generation: 1,
		},
	]);
	expect(await db.selectFrom("share_links").selectAll().execute()).toEqual([]);
});

test("version 3: teams that are there keep their passthrough, devboxes never expire", async () => {
	const db = await databaseOfVersion(2);
	await sql`insert into teams values ('team_1', 'one', 0)`.execute(db);
	await sql`insert into devboxes values ('dbx_1', 'team_1', 'usr_1', null, 'running', 'linux', '{}', '{}', '', 'user', '', '', '', '', null, null, 1, null, 1, 0, 1, 1)`.execute(
		db,
	);
	await migrate(db);
	expect(await db.selectFrom("teams").select("passthrough_enabled").execute()).toEqual([{ passthrough_enabled: 1 }]);
	expect(await db.selectFrom("devboxes").select(["expires_at_ms", "hard_expires_at_ms"]).execute()).toEqual([
		{ expires_at_ms: null, hard_expires_at_ms: null },
	]);
});

test("share links go with their devbox", async () => {
	const store = await openTestStore();
	await sql`insert into devboxes values ('dbx_1', ${store.teamId}, 'usr_1', null, 'running', 'linux', '{}', '{}', '', 'user', '', '', '', '', null, null, 1, null, 1, 0, 1, 1, null, null)`.execute(
		store.db,
	);
	const link = { id: "shl_1", devbox_id: "dbx_1", port: 80, path: "/", created_by: "usr_1", created_at_ms: 1 };
	await store.db
		.insertInto("share_links")
		.values({ ...link, expires_at_ms: 2 })
		.execute();
	await store.db.deleteFrom("devboxes").execute();
	expect(await store.db.selectFrom("share_links").selectAll().execute()).toEqual([]);
});

test.each([
	["devboxes of a team by id", "select * from devboxes where team_id = 'x' and id < 'y' order by id desc limit 5"],
	["devboxes by status", "select * from devboxes where status in ('running', 'suspended')"],
	["share links by devbox", "select * from share_links where devbox_id in ('x', 'y') and expires_at_ms > 5"],
	["expired share links", "delete from share_links where expires_at_ms <= 5"],
	["the next share link to expire", "select min(expires_at_ms) from share_links"],
	["a tunnel by its key", "select * from tunnels where key = 'x'"],
	["an API key by its hash", "select * from api_keys where key_hash = 'x'"],
	["SSH keys of a user", "select * from ssh_keys where user_id = 'x' order by id"],
	["an SSH key by its fingerprint", "select * from ssh_keys where fingerprint_sha256 = 'x'"],
	["running devboxes whose time is over", "select id from devboxes where status = 'running' and expires_at_ms <= 5"],
	["devboxes whose life is over", "select id from devboxes where hard_expires_at_ms <= 5"],
	["audit events of a team", "select * from audit_events where team_id = 'x' and id < 'y' order by id desc limit 5"],
	["audit events of a user", "select * from audit_events where user_id = 'x' and id >= 'y' order by id desc limit 5"],
	["audit events of a devbox", "select * from audit_events where devbox_id = 'x' order by id desc limit 5"],
	["old audit events", "delete from audit_events where id in (select id from audit_events where id < 'x' order by id)"],
	["old idempotency keys", "delete from idempotency_keys where created_at_ms < 5"],
])("finds %s by an index", async (_, query) => {
	const store = await openTestStore();
	const { rows } = await sql<{ detail: string }>`${sql.raw(`explain query plan ${query}`)}`.execute(store.db);
	const plan = rows.map((row) => row.detail).join("; ");
	expect(plan).toMatch(/USING (COVERING )?INDEX/);
	expect(plan).not.toMatch(/SCAN|TEMP B-TREE/);
});
