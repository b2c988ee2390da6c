import { sql } from "kysely";
import { expect, test } from "vitest";
import { migrate } from "./migrate.js";
import { type Migration, migrations } from "./migrations.js";
import { openTestStore, type TestStore } from "./store.fixture.js";

async function names(store: TestStore, type: "table" | "index"): Promise<string[]> {
	const { rows } = await sql<{ name: string }>`select name from sqlite_master where type = ${type}`.execute(store.db);
	return rows.map((row) => row.name);
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
			"devboxes",
			"state_transitions",
			"tunnels",
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

test.each([
	["devboxes of a team by id", "select * from devboxes where team_id = 'x' and id < 'y' order by id desc limit 5"],
	["devboxes by status", "select * from devboxes where status in ('running', 'suspended')"],
	["a tunnel by its key", "select * from tunnels where key = 'x'"],
	["an API key by its hash", "select * from api_keys where key_hash = 'x'"],
	["old idempotency keys", "delete from idempotency_keys where created_at_ms < 5"],
])("finds %s by an index", async (_, query) => {
	const store = await openTestStore();
	const { rows } = await sql<{ detail: string }>`${sql.raw(`explain query plan ${query}`)}`.execute(store.db);
	const plan = rows.map((row) => row.detail).join("; ");
	expect(plan).toMatch(/USING (COVERING )?INDEX/);
	expect(plan).not.toMatch(/SCAN|TEMP B-TREE/);
});
