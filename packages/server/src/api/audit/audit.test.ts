import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { firstKey, newPublicKey, openTestAccounts } from "../../accounts/accounts.fixture.js";
import { Audit } from "../../audit/index.js";
import { openTestDevboxes } from "../../devboxes/devboxes.fixture.js";
import type { Devboxes } from "../../devboxes/index.js";
import { FakeRuntime } from "../../devboxes/runtime.fixture.js";
import { openTestStore, type TestStore } from "../../store/store.fixture.js";
import { fakeApi } from "../fakes.fixture.js";

/** The API over the real services. */

let store: TestStore;
let audit: Audit;
let people: Awaited<ReturnType<typeof openTestAccounts>>;
let devboxes: Devboxes;
let fake: Awaited<ReturnType<typeof fakeApi>>;

beforeEach(async () => {
	store = await openTestStore();
	audit = new Audit({ store, log: pino({ level: "silent" }), retentionDays: 0 });
	people = await openTestAccounts({ store, audit });
	devboxes = await openTestDevboxes({ store, runtime: new FakeRuntime(), audit });
	fake = await fakeApi({ accounts: people.accounts, devboxes, audit });
});
afterEach(async () => {
	await fake.api.close();
	await devboxes.close();
	await audit.close();
});

async function call(method: "GET" | "POST" | "DELETE", url: string, body?: object, key = firstKey) {
	const headers = { authorization: `Bearer ${key}` };
	const response = await fake.api.app.inject({ method, url, headers, ...(body && { payload: body }) });
	return { status: response.statusCode, body: response.json() };
}

/** What a call that must succeed answers. */
async function done(...args: Parameters<typeof call>) {
	const { status, body } = await call(...args);
	expect([status < 300, body]).toEqual([true, body]);
	return body;
}

const events = async (query = "", key = firstKey) =>
	(await done("GET", `/v1/audit_events${query}`, undefined, key)).audit_events;
const actions = async (query = "") => (await events(query)).map(({ action }: { action: string }) => action);

/** A box with an authenticated tunnel. */
async function runningBox(): Promise<string> {
	const { id } = await done("POST", "/v1/devboxes", { tunnel: { auth_mode: "authenticated" } });
	await done("POST", `/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"] });
	return id;
}

/** Everything through which somebody gets in, or lets somebody in; returns the secrets that were answered. */
async function everyChange(): Promise<string[]> {
	const id = await runningBox();
	const box = `/v1/devboxes/${id}`;
	const { auth_token: first } = (await done("GET", box)).tunnel;
	const { auth_token: second } = await done("POST", `${box}/enable_tunnel`, {
		auth_mode: "authenticated",
		wake_on_http: true,
	});
	const link = await done("POST", `${box}/tunnel/share_links`, {
		port: 3000,
		path: "/report?password=hunter2",
		expires_in_seconds: 60,
	});
	await done("DELETE", `${box}/tunnel/share_links/${link.id}`);
	const { ssh_private_key } = await done("POST", `${box}/create_ssh_key`);
	const rotated = await done("POST", `${box}/rotate_ssh_key`);
	await done("POST", `${box}/remove_tunnel`);
	const publicKey = newPublicKey();
	const { data } = await done("POST", "/users/me/ssh-keys", { name: "laptop", public_key: publicKey });
	await done("DELETE", `/users/me/ssh-keys/${data.id}`);
	const user = await done("POST", "/v1/admin/users", { name: "ann" });
	await done("POST", `/v1/admin/users/${user.id}`, { name: "anna" });
	const team = await done("POST", "/v1/admin/teams", { name: "red" });
	const members = `/v1/admin/teams/${team.id}/members`;
	await done("POST", members, { user_id: user.id, role: "member" });
	await done("POST", `${members}/${user.id}`, { role: "viewer" });
	const apiKey = await done("POST", `/v1/admin/teams/${team.id}/api_keys`, { user_id: user.id, name: "laptop" });
	await done("DELETE", `/v1/admin/teams/${team.id}/api_keys/${apiKey.id}`);
	await done("DELETE", `${members}/${user.id}`);
	await done("POST", `/v1/admin/teams/${team.id}`, { passthrough_enabled: false });
	await done("DELETE", `/v1/admin/teams/${team.id}`);
	await done("DELETE", `/v1/admin/users/${user.id}`);
	const pems = [ssh_private_key, rotated.ssh_private_key].map((pem: string) => pem.split("\n")[1]!);
	const blob = publicKey.split(" ")[1]!;
	return [
		first,
		second,
		new URL(link.url).searchParams.get("gangway_share")!,
		"hunter2",
		...pems,
		blob,
		apiKey.key,
		firstKey,
	];
}

describe("every change of what lets people in is recorded", () => {
	test("with its actor, once", async () => {
		await everyChange();
		expect((await actions()).reverse()).toEqual([
			"tunnel.enabled",
			"tunnel.changed",
			"share_link.created",
			"share_link.deleted",
			"devbox_key.fetched",
			"devbox_key.rotated",
			"devbox_key.fetched",
			"tunnel.removed",
			"ssh_key.created",
			"ssh_key.deleted",
			"user.created",
			"user.changed",
			"team.created",
			"member.added",
			"member.changed",
			"api_key.created",
			"api_key.revoked",
			"member.removed",
			"team.changed",
			"team.deleted",
			"user.deleted",
		]);
		const { userId, apiKeyId } = people.home;
		for (const event of await events()) expect(event).toMatchObject({ user_id: userId, api_key_id: apiKeyId });
	});

	test("without any secret", async () => {
		const secrets = await everyChange();
		const table = JSON.stringify(await store.db.selectFrom("audit_events").selectAll().execute());
		expect(table).toContain("tunnel.enabled");
		for (const secret of secrets) {
			expect(secret.length).toBeGreaterThan(6);
			expect(table).not.toContain(secret);
		}
	});

	test("as far as it is one: the same tunnel again, and removing none, are not", async () => {
		const id = await runningBox();
		await done("POST", `/v1/devboxes/${id}/enable_tunnel`, { auth_mode: "authenticated" });
		await done("POST", `/v1/devboxes/${id}/remove_tunnel`);
		await done("POST", `/v1/devboxes/${id}/remove_tunnel`);
		expect(await actions()).toEqual(["tunnel.removed", "tunnel.enabled"]);
	});

	test("or a key is not handed out", async () => {
		const id = await runningBox();
		await store.db.schema.alterTable("audit_events").renameTo("elsewhere").execute();
		const { status, body } = await call("POST", `/v1/devboxes/${id}/create_ssh_key`);
		expect([status, body.code]).toEqual([503, "unavailable"]);
		expect(JSON.stringify(body)).not.toContain("PRIVATE KEY");
	});
});

test("an event says who did what to which devbox, and from where", async () => {
	const id = await runningBox();
	await done("POST", `/v1/devboxes/${id}/create_ssh_key`);
	const { teamId, userId, apiKeyId } = people.home;
	expect((await events("?action=devbox_key"))[0]).toEqual({
		id: expect.stringMatching(/^aud_/),
		at_ms: expect.any(Number),
		action: "devbox_key.fetched",
		outcome: "ok",
		team_id: teamId,
		user_id: userId,
		api_key_id: apiKeyId,
		ssh_key_id: null,
		devbox_id: id,
		peer_address: "127.0.0.1",
		duration_ms: null,
		details: {},
	});
});

test("a key that is rotated because somebody left names nobody", async () => {
	const { key, userId, teamId } = await people.join(people.home.teamId, "bob", "member");
	const id = await runningBox();
	await done("POST", `/v1/devboxes/${id}/create_ssh_key`, undefined, key);
	await people.accounts.administration.removeMember(people.first, teamId, userId);
	await devboxes.rotateExposedKeys();
	expect(await events("?action=devbox_key.rotated")).toMatchObject([{ devbox_id: id, team_id: teamId, user_id: null }]);
});

test("what a role does not allow is recorded as denied", async () => {
	const { key, userId } = await people.join(people.home.teamId, "bob", "viewer");
	const id = await runningBox();
	expect((await call("POST", `/v1/devboxes/${id}/create_ssh_key`, undefined, key)).status).toBe(403);
	expect(await events("?outcome=denied")).toMatchObject([
		{
			action: "api.denied",
			user_id: userId,
			devbox_id: id,
			details: { method: "POST", route: "/v1/devboxes/:id/create_ssh_key" },
		},
	]);
});

describe("who may read", () => {
	test("admins only", async () => {
		for (const role of ["member", "viewer"] as const) {
			const { key } = await people.join(people.home.teamId, role, role);
			expect((await call("GET", "/v1/audit_events", undefined, key)).status).toBe(403);
		}
	});

	test("a team's admin reads that team's events, the installation's all of them", async () => {
		const red = await people.accounts.teams.create("red");
		const { key } = await people.join(red.id, "ann", "admin");
		audit.record({ action: "ssh.session", teamId: red.id });
		audit.record({ action: "ssh.forward", teamId: people.home.teamId });
		audit.record({ action: "ssh.denied", outcome: "denied" });
		expect(await events("", key)).toMatchObject([{ action: "ssh.session" }]);
		expect(await actions()).toEqual(["ssh.denied", "ssh.forward", "ssh.session"]);
		expect(await actions(`?team_id=${red.id}`)).toEqual(["ssh.session"]);
		const foreign = await call("GET", `/v1/audit_events?team_id=${people.home.teamId}`, undefined, key);
		expect([foreign.status, foreign.body.code]).toEqual([404, "not_found"]);
	});
});

describe("a list", () => {
	test("has filters", async () => {
		const { teamId } = people.home;
		audit.record({ action: "ssh.session", teamId, devboxId: "dbx_1", actor: { userId: "usr_1" } });
		audit.record({ action: "ssh_key.created", teamId, actor: { userId: "usr_2" } });
		expect(await actions("?devbox_id=dbx_1")).toEqual(["ssh.session"]);
		expect(await actions("?user_id=usr_2")).toEqual(["ssh_key.created"]);
		expect(await actions("?action=ssh")).toEqual(["ssh.session"]);
		expect(await actions("?since_ms=0")).toEqual(["ssh_key.created", "ssh.session"]);
		expect(await actions("?until_ms=0")).toEqual([]);
		expect(await actions("?until_ms=999999999999999")).toHaveLength(2);
	});

	test("has pages", async () => {
		for (let n = 0; n < 3; n++) audit.record({ action: "ssh.session", details: { n } });
		const first = await done("GET", "/v1/audit_events?limit=2");
		expect(first).toMatchObject({ audit_events: [{ details: { n: 2 } }, { details: { n: 1 } }], has_more: true });
		const rest = await done("GET", `/v1/audit_events?limit=2&starting_after=${first.audit_events[1].id}`);
		expect(rest).toMatchObject({ audit_events: [{ details: { n: 0 } }], has_more: false });
	});

	test.each(["limit=0", "limit=501", "action=nonsense", "outcome=good", "since_ms=yesterday", "colour=red"])(
		"refuses ?%s with the name of the parameter",
		async (query) => {
			const { status, body } = await call("GET", `/v1/audit_events?${query}`);
			expect([status, body.message.split(":")[0]]).toEqual([400, query.split("=")[0]]);
		},
	);
});
