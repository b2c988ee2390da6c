/** `gangway admin` as people and scripts use it, against the built daemon. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { gangway } from "./support/cli.js";
import { adminApiKey, Daemon } from "./support/daemon.js";

let daemon: Daemon;
beforeAll(async () => {
	daemon = await Daemon.start();
});
afterAll(() => daemon?.remove());

/** On the daemon's machine, with its settings in the environment. */
function admin(...args: string[]) {
	const env = { GANGWAY_DATA_DIR: daemon.dataDir, GANGWAY_ADMIN_API_KEY: adminApiKey };
	return gangway(["admin", ...args], { cwd: daemon.dataDir, env });
}

/** From elsewhere, with an API key. */
function remote(apiKey: string, ...args: string[]) {
	const url = `http://127.0.0.1:${daemon.endpoints.http_port}`;
	const env = { GANGWAY_API_URL: url, GANGWAY_API_KEY: apiKey };
	return gangway(["admin", "--output", "json", ...args], { cwd: daemon.dataDir, env });
}

async function json(...args: string[]) {
	const { code, stdout, stderr } = await admin(...args, "--output", "json");
	expect([code, stderr]).toEqual([0, ""]);
	return JSON.parse(String(stdout));
}

test("users, teams, members and keys, by name", async () => {
	const team = await json("team", "create", "red");
	const user = await json("user", "create", "ann");
	expect(await json("member", "add", "red", "ann", "--role", "viewer")).toMatchObject({ name: "ann", role: "viewer" });
	expect(await json("member", "set", team.id, user.id, "--role", "admin")).toMatchObject({ role: "admin" });
	const { key, id } = await json("key", "create", "red", "ann", "--name", "laptop");
	expect((await json("key", "list", "red")).api_keys).toMatchObject([{ id, name: "laptop", revoke_time_ms: null }]);

	const own = await remote(key, "team", "list");
	expect(JSON.parse(String(own.stdout)).teams).toMatchObject([{ id: team.id, name: "red" }]);
	const refused = await remote(key, "user", "create", "bob");
	expect([refused.code, refused.stderr]).toEqual([4, "gangway: this needs an admin of the first team\n"]);

	const list = await admin("member", "list", "red");
	expect(String(list.stdout)).toMatch(
		new RegExp(`^USER_ID +NAME  ROLE   CREATE_TIME\n${user.id}  ann   admin  20\\d\\d-.*Z\n$`),
	);
	expect(await json("team", "update", "red", "--passthrough", "off")).toMatchObject({ passthrough_enabled: false });
	expect(await json("user", "rename", "ann", "anna")).toMatchObject({ name: "anna" });
	expect(await json("key", "revoke", "red", id)).toEqual({});
	expect((await remote(key, "team", "list")).code).toBe(4);

	expect(String((await admin("team", "delete", "red")).stdout)).toBe("team red deleted\n");
	expect(await json("user", "delete", "anna")).toEqual({});
	expect((await json("user", "list")).users).toMatchObject([{ name: "admin" }]);
});

test("what went wrong is said on stderr and by the exit code", async () => {
	const last = await admin("member", "remove", "default", "admin");
	expect([last.code, last.stderr]).toEqual([
		1,
		"gangway: the installation's first user stays admin of its first team\n",
	]);
	const unknown = await admin("user", "delete", "nobody");
	expect([unknown.code, unknown.stderr]).toEqual([5, "gangway: there is no user nobody that you administer\n"]);
	expect((await remote("gw_wrong", "user", "list")).code).toBe(4);
	for (const args of [
		["user", "create"],
		["member", "add", "default", "admin"],
		["member", "add", "default", "admin", "--role", "owner"],
		["team", "update", "default"],
		["user", "frobnicate"],
	]) {
		const { code, stderr } = await admin(...args);
		expect([code, stderr]).toEqual([2, expect.stringMatching(/^gangway: /)]);
	}
});

test("without a daemon or a key it says where it looked", async () => {
	const cwd = daemon.dataDir;
	const nowhere = await gangway(["admin", "user", "list", "--data-dir", "/nowhere"], { cwd });
	expect([nowhere.code, nowhere.stderr]).toEqual([
		4,
		expect.stringContaining("/nowhere/endpoints.json (what a daemon leaves there) is not there: set GANGWAY_API_URL"),
	]);
	const keyless = await gangway(["admin", "user", "list"], { cwd, env: { GANGWAY_API_URL: "http://127.0.0.1:1" } });
	expect(keyless.code).toBe(4);
	const env = { GANGWAY_API_URL: "http://127.0.0.1:1", GANGWAY_API_KEY: adminApiKey };
	const unreachable = await gangway(["admin", "user", "list"], { cwd, env });
	expect([unreachable.code, unreachable.stderr]).toEqual([
		1,
		expect.stringMatching(/^gangway: http:\/\/127\.0\.0\.1:1 cannot be reached: .*ECONNREFUSED/),
	]);
});
