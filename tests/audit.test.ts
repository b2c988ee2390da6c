/** What has happened, as `gangway admin audit` tells it, against the built daemon and a real devbox. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Box } from "./support/box.js";
import { gangway } from "./support/cli.js";
import { adminApiKey, Daemon } from "./support/daemon.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let box: Box;
beforeAll(async () => {
	daemon = await Daemon.start();
	box = await Box.create(daemon);
});
afterAll(() => daemon?.remove());

function audit(...args: string[]) {
	const env = { GANGWAY_DATA_DIR: daemon.dataDir, GANGWAY_ADMIN_API_KEY: adminApiKey };
	return gangway(["admin", "audit", ...args], { cwd: daemon.dataDir, env });
}

async function events(...args: string[]): Promise<Record<string, unknown>[]> {
	const { code, stdout, stderr } = await audit(...args, "--output", "json");
	expect([code, stderr]).toEqual([0, ""]);
	return JSON.parse(String(stdout)).audit_events;
}

test("who got a devbox's key, and the session that was opened with it", async () => {
	expect(await box.ssh.out("echo hello")).toBe("hello");
	const session = await until("the session is recorded", async () => (await events("--action", "passthrough"))[0]);
	expect(session).toMatchObject({
		action: "passthrough.session",
		outcome: "ok",
		team_id: expect.stringMatching(/^team_/),
		user_id: null,
		devbox_id: box.id,
		peer_address: "127.0.0.1",
		duration_ms: expect.any(Number),
		details: { bytes: expect.any(Number) },
	});
	const [fetched] = await events("--devbox", box.id, "--user", "admin", "--since", "1h");
	expect(fetched).toMatchObject({ action: "devbox_key.fetched", peer_address: "127.0.0.1" });
	const text = String((await audit("--action", "devbox_key.fetched")).stdout);
	expect(text).toMatch(/^AT +ACTION +OUTCOME +USER +DEVBOX_ID +PEER_ADDRESS +DURATION +DETAILS\n/);
	expect(text).toMatch(new RegExp(`devbox_key.fetched +ok +admin +${box.id} +127.0.0.1 +- +{}\n`));
});

test("events survive a crash of the daemon right after", async () => {
	await daemon.sdk().api.devboxes.enableTunnel(box.id, { auth_mode: "authenticated" });
	await daemon.kill();
	await daemon.start();
	expect(await events("--action", "tunnel")).toMatchObject([{ action: "tunnel.enabled", devbox_id: box.id }]);
});

test.each([
	["--since", "yesterday"],
	["--limit", "0"],
	["--outcome", "good"],
])("%s %s is wrong usage", async (...args) => {
	expect((await audit(...args)).code).toBe(2);
});

test("an action that is none is named", async () => {
	const { code, stderr } = await audit("--action", "nonsense");
	expect([code, stderr]).toEqual([1, expect.stringMatching(/^gangway: action: must be an action such as/)]);
});
