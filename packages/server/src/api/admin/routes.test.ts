import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { firstKey, openTestAccounts } from "../../accounts/accounts.fixture.js";
import { fakeApi, serveHttp2 } from "../fakes.fixture.js";

/** The admin API over real accounts. Who may do what is tested with those. */

let accounts: Awaited<ReturnType<typeof openTestAccounts>>;
let fake: Awaited<ReturnType<typeof fakeApi>>;

beforeEach(async () => {
	accounts = await openTestAccounts();
	fake = await fakeApi({ accounts: accounts.accounts });
});
afterEach(() => fake.api.close());

async function ask(method: "GET" | "POST" | "DELETE", path: string, body?: object, key = firstKey) {
	const headers = { authorization: `Bearer ${key}` };
	const url = `/v1/admin${path}`;
	const response = await fake.api.app.inject({ method, url, headers, ...(body && { payload: body }) });
	expect(response.headers["cache-control"]).toBe("no-store");
	return { status: response.statusCode, body: response.json() };
}

/** What a call that must succeed answers. */
async function done(...call: Parameters<typeof ask>) {
	const { status, body } = await ask(...call);
	expect([status, body]).toEqual([200, body]);
	return body;
}

test("from nothing to a member with a key, and back", async () => {
	const team = await done("POST", "/teams", { name: "red" });
	expect(team).toEqual({
		id: expect.stringMatching(/^team_/),
		name: "red",
		passthrough_enabled: true,
		create_time_ms: accounts.clock.now,
	});
	const user = await done("POST", "/users", { name: "ann" });
	expect(user).toEqual({ id: expect.stringMatching(/^usr_/), name: "ann", create_time_ms: accounts.clock.now });
	const members = `/teams/${team.id}/members`;
	const member = { user_id: user.id, name: "ann", role: "viewer", create_time_ms: accounts.clock.now };
	expect(await done("POST", members, { user_id: user.id, role: "viewer" })).toEqual(member);
	expect(await done("POST", `${members}/${user.id}`, { role: "member" })).toMatchObject({ role: "member" });
	expect(await done("GET", members)).toEqual({ members: [{ ...member, role: "member" }] });

	const { key, ...shown } = await done("POST", `/teams/${team.id}/api_keys`, { user_id: user.id, name: "laptop" });
	expect(await accounts.accounts.authenticate(key)).toMatchObject({ userId: user.id, teamId: team.id, role: "member" });
	expect(shown).toEqual({
		id: expect.stringMatching(/^key_/),
		name: "laptop",
		user_id: user.id,
		create_time_ms: accounts.clock.now,
		revoke_time_ms: null,
	});
	expect(await done("GET", `/teams/${team.id}/api_keys`)).toEqual({ api_keys: [shown] });
	expect((await ask("GET", "/teams", undefined, key)).status).toBe(403);
	expect(await done("DELETE", `/teams/${team.id}/api_keys/${shown.id}`)).toEqual({});
	expect((await ask("GET", "/teams", undefined, key)).status).toBe(401);

	expect(await done("POST", `/users/${user.id}`, { name: "anna" })).toMatchObject({ name: "anna" });
	expect(await done("GET", `/users/${user.id}`)).toMatchObject({ name: "anna" });
	expect((await done("GET", "/users")).users.map(({ name }: { name: string }) => name)).toEqual(["admin", "anna"]);
	expect(await done("DELETE", `${members}/${user.id}`)).toEqual({});
	expect(await done("DELETE", `/users/${user.id}`)).toEqual({});
	expect(await done("DELETE", `/teams/${team.id}`)).toEqual({});
	expect((await ask("GET", `/teams/${team.id}`)).status).toBe(404);
});

test("a team's settings, one at a time", async () => {
	const { teamId } = accounts.home;
	const url = `/teams/${teamId}`;
	expect(await done("POST", url, { passthrough_enabled: false })).toMatchObject({ name: "default" });
	expect(await done("POST", url, { name: "main", passthrough_enabled: null })).toMatchObject({ name: "main" });
	expect(await done("GET", url)).toMatchObject({ name: "main", passthrough_enabled: false });
	expect((await done("GET", "/teams")).teams).toHaveLength(2);
});

test("what is wrong is named, in the dialect of /v1", async () => {
	const { teamId, userId } = accounts.home;
	for (const [call, status, message] of [
		[ask("POST", "/users", { name: "a b" }), 400, /^name: must begin/],
		[ask("POST", "/users", {}), 400, "name: is required"],
		[ask("POST", "/users", { name: "admin" }), 409, "there is a user admin already"],
		[ask("GET", "/users/usr_none"), 404, "user not found"],
		[ask("POST", `/teams/${teamId}/members`, { user_id: userId, role: "owner" }), 400, /^role: must be one of admin/],
		[ask("DELETE", `/users/${userId}`), 409, /first user/],
		[ask("GET", "/users", undefined, "nope"), 401, /API key/],
	] as const) {
		const answer = await call;
		expect(answer.status).toBe(status);
		const code = { 400: "bad_request", 401: "unauthorized", 404: "not_found", 409: "conflict" }[status];
		expect(answer.body).toEqual({ code, message: expect.stringMatching(message) });
	}
});

test("a call whose body was held back until its admin had been removed does nothing", async () => {
	const { teamId } = accounts.home;
	const ann = await accounts.join(teamId, "ann", "admin");
	const server = await serveHttp2(fake.api);
	const client = connect(server.url);
	onTestFinished(async () => {
		client.destroy();
		await server.stop();
	});
	const authenticate = vi.spyOn(accounts.accounts, "authenticate");
	const call = client.request({
		":method": "POST",
		":path": "/v1/admin/users",
		authorization: `Bearer ${ann.key}`,
		"content-type": "application/json",
	});
	call.write('{"name":');
	await expect.poll(() => authenticate.mock.settledResults).toHaveLength(1);
	await accounts.accounts.administration.removeMember(accounts.first, teamId, ann.userId);
	call.end('"mallory"}');
	const [head] = (await once(call, "response")) as [IncomingHttpHeaders & { ":status": number }];
	expect(head[":status"]).toBe(401);
	expect((await accounts.accounts.users.list()).map(({ name }) => name)).not.toContain("mallory");
});
