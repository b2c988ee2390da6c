import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { noAudit } from "../audit/audit.fixture.js";
import { openTestStore } from "../store/store.fixture.js";
import { Accounts } from "./accounts.js";

const CONFIGURED = "configured-key-of-twenty-or-more";
const OTHER = "another-key-of-twenty-or-more";

async function setUp(options: { adminApiKey?: string } = {}) {
	const store = await openTestStore();
	const clock = { now: 1_000_000 };
	const start = async (adminApiKey?: string) => {
		const accounts = new Accounts({ store, dataDir: store.dataDir, audit: noAudit, now: () => clock.now });
		return { accounts, bootstrap: await accounts.bootstrap({ adminApiKey }) };
	};
	const { accounts, bootstrap } = await start(options.adminApiKey);
	const { teamId, userId } = bootstrap;
	const newKey = () => accounts.createApiKey({ teamId, userId, name: "ci" });
	return { store, clock, start, accounts, bootstrap, newKey };
}

test("the first start makes admin, default and a key in a file for its owner alone", async () => {
	const { accounts, bootstrap, store } = await setUp();
	const file = join(store.dataDir, "admin.key");
	expect(bootstrap).toMatchObject({ firstStart: true, adminKeyFile: file });
	expect(statSync(file).mode & 0o777).toBe(0o600);
	const key = readFileSync(file, "utf8");
	expect(key).toMatch(/^gw_[A-Za-z0-9_-]{43}\n$/);

	const actor = await accounts.authenticate(`Bearer ${key.trim()}`);
	const { apiKeyId, teamId, userId } = bootstrap;
	expect(actor).toEqual({ apiKeyId, teamId, userId, role: "admin" });
	const { db } = store;
	expect(await db.selectFrom("users").select("name").where("id", "=", userId).execute()).toEqual([{ name: "admin" }]);
	expect(await db.selectFrom("teams").select("name").where("id", "=", teamId).execute()).toEqual([{ name: "default" }]);
});

test("a later start keeps the generated key", async () => {
	const { bootstrap, start } = await setUp();
	const key = readFileSync(bootstrap.adminKeyFile!, "utf8").trim();
	const later = await start();
	expect(later.bootstrap).toEqual({ ...bootstrap, firstStart: false });
	expect(await later.accounts.authenticate(key)).toMatchObject({ apiKeyId: bootstrap.apiKeyId });
});

test("a configured key is used and no file is made", async () => {
	const { accounts, bootstrap } = await setUp({ adminApiKey: CONFIGURED });
	expect(bootstrap.adminKeyFile).toBeUndefined();
	expect(await accounts.authenticate(CONFIGURED)).toMatchObject({ role: "admin" });
});

test("a newly configured key replaces the former one and its file, back and forth", async () => {
	const { bootstrap, start } = await setUp();
	const generated = readFileSync(bootstrap.adminKeyFile!, "utf8").trim();
	for (const [current, former] of [
		[CONFIGURED, generated],
		[OTHER, CONFIGURED],
		[CONFIGURED, OTHER],
	] as const) {
		const later = await start(current);
		expect(later.bootstrap).toEqual({ ...bootstrap, firstStart: false, adminKeyFile: undefined });
		expect(await later.accounts.authenticate(current)).toMatchObject({ apiKeyId: bootstrap.apiKeyId });
		expect(await later.accounts.authenticate(former)).toBeUndefined();
	}
	expect(await (await start()).accounts.authenticate(CONFIGURED)).toBeDefined();
});

test("a revoked bootstrap key does not come back with the settings, a new one does its work", async () => {
	const { accounts, bootstrap, start } = await setUp({ adminApiKey: CONFIGURED });
	await accounts.revokeApiKey(bootstrap.teamId, bootstrap.apiKeyId);
	await expect(start(CONFIGURED)).rejects.toMatchObject({
		code: "config",
		message: "admin_api_key: the value (not shown) is refused, this key was revoked; allowed: a new key",
	});
	const later = await start(OTHER);
	expect(await later.accounts.authenticate(OTHER)).toMatchObject({ role: "admin" });
});

test("somebody else's key cannot be configured", async () => {
	const { newKey, start } = await setUp();
	const { key } = await newKey();
	await expect(start(key)).rejects.toMatchObject({ code: "config", message: expect.not.stringContaining(key) });
});

test.each(["", "short", "with spaces in the middle of it", "ümlaut-key-of-twenty-or-more", "x".repeat(257)])(
	"%j cannot be configured",
	async (key) => {
		const { start } = await setUp();
		await expect(start(key)).rejects.toMatchObject({
			code: "config",
			message: "admin_api_key: the value (not shown) is not an API key; allowed: 20 to 256 letters, digits or ._~+/-=",
		});
	},
);

test("takes the Authorization header in any case, or the bare key; refuses everything else", async () => {
	const { accounts } = await setUp({ adminApiKey: CONFIGURED });
	for (const good of [CONFIGURED, `Bearer ${CONFIGURED}`, `bearer  ${CONFIGURED} `, `BEARER ${CONFIGURED}`]) {
		expect(await accounts.authenticate(good)).toBeDefined();
	}
	for (const bad of [
		undefined,
		"",
		"Bearer",
		"Bearer ",
		`Basic ${CONFIGURED}`,
		`Bearer ${CONFIGURED} x`,
		`Bearer Bearer ${CONFIGURED}`,
		`Bearer ${CONFIGURED}x`,
		`Bearer ${CONFIGURED.toUpperCase()}`,
		`Bearer ${CONFIGURED}\0`,
		`Bearer ${"x".repeat(1_000_000)}`,
	]) {
		expect(await accounts.authenticate(bad)).toBeUndefined();
	}
});

test("a stored hash is no key", async () => {
	const { accounts, store } = await setUp({ adminApiKey: CONFIGURED });
	const { key_hash } = await store.db.selectFrom("api_keys").select("key_hash").executeTakeFirstOrThrow();
	expect(await accounts.authenticate(key_hash)).toBeUndefined();
});

test("no key is in the database, in no column", async () => {
	const { accounts, newKey, store } = await setUp({ adminApiKey: CONFIGURED });
	const { key } = await newKey();
	expect(await accounts.authenticate(key)).toBeDefined();
	const database = new Database(join(store.dataDir, "gangway.db"), { readonly: true });
	const bytes = database.serialize();
	database.close();
	expect(bytes.includes("bootstrap")).toBe(true);
	for (const secret of [key, CONFIGURED]) expect(bytes.includes(secret)).toBe(false);
});

test("a created key works and is listed without itself", async () => {
	const { accounts, bootstrap, newKey, clock } = await setUp();
	const { key, ...info } = await newKey();
	expect(await accounts.authenticate(key)).toMatchObject({ apiKeyId: info.id, role: "admin" });
	const list = await accounts.listApiKeys(bootstrap.teamId);
	expect(list.map(({ name }) => name).sort()).toEqual(["bootstrap", "ci"]);
	expect(list).toContainEqual(info);
	expect(info.createdAtMs).toBe(clock.now);
	expect(JSON.stringify(list)).not.toContain(key);
	expect(await accounts.listApiKeys("team_other")).toEqual([]);
});

test("a key is for members of the team only", async () => {
	const { accounts, bootstrap, store } = await setUp();
	const create = accounts.createApiKey({ teamId: store.teamId, userId: bootstrap.userId, name: "x" });
	await expect(create).rejects.toMatchObject({ code: "not_found" });
});

test("a revoked key is refused at once, though it was just used", async () => {
	const { accounts, bootstrap, newKey, clock } = await setUp();
	const { id, key } = await newKey();
	expect(await accounts.authenticate(key)).toBeDefined();
	await accounts.revokeApiKey(bootstrap.teamId, id);
	expect(await accounts.authenticate(key)).toBeUndefined();
	clock.now += 1;
	await accounts.revokeApiKey(bootstrap.teamId, id);
	expect(await accounts.listApiKeys(bootstrap.teamId)).toContainEqual(
		expect.objectContaining({ id, revokedAtMs: clock.now - 1 }),
	);
});

test("a key that is revoked while it is looked up does not live on in the cache", async () => {
	const { accounts, bootstrap, newKey } = await setUp();
	const { id, key } = await newKey();
	await Promise.all([accounts.authenticate(key), accounts.revokeApiKey(bootstrap.teamId, id)]);
	expect(await accounts.authenticate(key)).toBeUndefined();
});

test("a key of another team is not found, and stays valid", async () => {
	const { accounts, newKey } = await setUp();
	const { id, key } = await newKey();
	await expect(accounts.revokeApiKey("team_other", id)).rejects.toMatchObject({ code: "not_found" });
	expect(await accounts.authenticate(key)).toBeDefined();
});

test("who leaves the team, or is demoted by hand, is found out within five seconds", async () => {
	const { accounts, newKey, store, clock } = await setUp();
	const { key } = await newKey();
	await accounts.authenticate(key);
	await store.db.updateTable("memberships").set({ role: "viewer" }).execute();
	clock.now += 5_000;
	expect(await accounts.authenticate(key)).toMatchObject({ role: "viewer" });
	await store.db.deleteFrom("memberships").execute();
	clock.now += 5_000;
	expect(await accounts.authenticate(key)).toBeUndefined();
});
