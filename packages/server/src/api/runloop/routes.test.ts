import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ConflictError } from "../../errors.js";
import { fakeApi, testTunnelUrl, viewerKey } from "../fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
let id: string;
beforeEach(async () => {
	fake = await fakeApi();
	fake.devboxes.bootsTo = undefined;
	id = (await fake.post("/v1/devboxes", { name: "one" })).json().id;
});
afterEach(() => fake.api.close());

describe("create_and_await_running", () => {
	test("answers as soon as the devbox runs", async () => {
		fake.devboxes.bootsTo = "running";
		expect((await fake.post("/v1/devboxes/create_and_await_running", {})).json()).toMatchObject({ status: "running" });
	});

	test("answers with the devbox as it is when the time is over", async () => {
		const hasty = await fakeApi({ limits: { createHoldMs: 20 } });
		hasty.devboxes.bootsTo = undefined;
		const response = await hasty.post("/v1/devboxes/create_and_await_running", {});
		expect([response.statusCode, response.json().status]).toEqual([200, "provisioning"]);
		await hasty.api.close();
	});

	test("answers at once when the devbox has failed", async () => {
		fake.devboxes.bootsTo = "failure";
		expect((await fake.post("/v1/devboxes/create_and_await_running", {})).json()).toMatchObject({ status: "failure" });
	});
});

describe("wait_for_status", () => {
	const wait = (body: object) => fake.post(`/v1/devboxes/${id}/wait_for_status`, body);

	test("200 with a listed status, as soon as it is reached", async () => {
		const answer = wait({ statuses: ["running", "failure"], timeout_seconds: 5 });
		await expect.poll(() => fake.devboxes.calls).toContain("waitForStatus");
		fake.devboxes.boot(id, "running");
		expect((await answer).json()).toMatchObject({ status: "running" });
	});

	test.each([0, 0.02, 0.0205])("408 when the time that was asked for, %s s, is over", async (timeout_seconds) => {
		const response = await wait({ statuses: ["running"], timeout_seconds });
		expect([response.statusCode, response.json().code]).toEqual([408, "timeout"]);
		expect(response.headers).not.toHaveProperty("x-should-retry");
	});

	test.each([{}, { timeout_seconds: null }, { timeout_seconds: 3600 }])(
		"408 after the longest hold with %j",
		async (body) => {
			const hasty = await fakeApi({ limits: { waitHoldMs: 20 } });
			hasty.devboxes.bootsTo = undefined;
			const { id } = (await hasty.post("/v1/devboxes")).json();
			const response = await hasty.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"], ...body });
			expect(response.statusCode).toBe(408);
			await hasty.api.close();
		},
	);

	test("a 409 that is not to be repeated, at once, when no listed status can be reached any more", async () => {
		fake.devboxes.boot(id, "failure");
		const response = await wait({ statuses: ["running", "suspended"] });
		expect(response.statusCode).toBe(409);
		expect(response.headers["x-should-retry"]).toBe("false");
		expect(response.json().message).toBe(`devbox ${id} is failure and can no longer become running or suspended`);
	});

	test("the 409 comes as soon as the devbox ends, and not at the end of the wait", async () => {
		const answer = wait({ statuses: ["suspended"] });
		await expect.poll(() => fake.devboxes.calls).toContain("waitForStatus");
		fake.devboxes.boot(id, "failure");
		expect((await answer).statusCode).toBe(409);
	});

	test("statuses that Gangway never has are known and never reached", async () => {
		expect((await wait({ statuses: ["queued"] })).statusCode).toBe(409);
		expect((await wait({ statuses: ["queued", "provisioning"] })).statusCode).toBe(200);
	});

	test.each<[object, string]>([
		[{}, "statuses: is required"],
		[{ statuses: [] }, "statuses: must not be empty"],
		[{ statuses: ["on"] }, "statuses[0]: must be one of provisioning, "],
		[{ statuses: ["running"], timeout: 5 }, "timeout: is not a known parameter"],
	])("%j is refused", async (body, message) => {
		const response = await wait(body);
		expect(response.statusCode).toBe(400);
		expect(response.json().message).toContain(message);
	});

	test("a repeat with the same key waits again", async () => {
		const headers = { "x-request-id": "same" };
		const url = `/v1/devboxes/${id}/wait_for_status`;
		expect((await fake.post(url, { statuses: ["running"], timeout_seconds: 0 }, headers)).statusCode).toBe(408);
		fake.devboxes.boot(id, "running");
		expect((await fake.post(url, { statuses: ["running"] }, headers)).statusCode).toBe(200);
	});
});

describe("list", () => {
	test("newest first, page by page, with the count", async () => {
		for (const name of ["two", "three"]) await fake.post("/v1/devboxes", { name });
		const first = (await fake.get("/v1/devboxes?limit=2")).json();
		expect(first.devboxes.map(({ name }: { name: string }) => name)).toEqual(["three", "two"]);
		expect(first).toMatchObject({ has_more: true, total_count: 3 });
		const next = (await fake.get(`/v1/devboxes?limit=2&starting_after=${first.devboxes[1].id}`)).json();
		expect(next.devboxes.map(({ name }: { name: string }) => name)).toEqual(["one"]);
		expect(next.has_more).toBe(false);
	});

	test("by status; without the count when it is not wanted", async () => {
		const running = (await fake.get("/v1/devboxes?status=running&include_total_count=false")).json();
		expect(running).toEqual({ devboxes: [], has_more: false });
		expect((await fake.get("/v1/devboxes?status=provisioning")).json().total_count).toBe(1);
		expect((await fake.get("/v1/devboxes?status=queued")).json().total_count).toBe(0);
	});

	test.each([
		["limit=0", "limit: must be ≥ 1"],
		["limit=5001", "limit: must be ≤ 5000"],
		["limit=", "limit: must be of type integer"],
		["limit=1&limit=2", "limit: must be of type integer"],
		["status=on", "status: must be one of provisioning"],
		["include_total_count=yes", "include_total_count: must be of type boolean"],
		["page=2", "page: is not a known parameter"],
	])("?%s is refused", async (query, message) => {
		const response = await fake.get(`/v1/devboxes?${query}`);
		expect(response.statusCode).toBe(400);
		expect(response.json().message).toContain(message);
	});
});

test("update: left out stays, empty clears, null is left out", async () => {
	const update = async (body: object) => (await fake.post(`/v1/devboxes/${id}`, body)).json();
	expect(await update({ metadata: { a: "b" } })).toMatchObject({ name: "one", metadata: { a: "b" } });
	expect(await update({ name: null, metadata: null })).toMatchObject({ name: "one", metadata: { a: "b" } });
	expect(await update({ name: "" })).toMatchObject({ name: null, metadata: { a: "b" } });
	expect(await update({ metadata: {} })).toMatchObject({ metadata: {} });
});

test("suspend, resume, keep_alive, shutdown with and without force", async () => {
	fake.devboxes.boot(id, "running");
	expect((await fake.post(`/v1/devboxes/${id}/suspend`)).json()).toMatchObject({ status: "suspending" });
	await fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["suspended"] });
	expect((await fake.post(`/v1/devboxes/${id}/resume`, {})).json()).toMatchObject({ status: "resuming" });
	await fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"] });
	expect((await fake.post(`/v1/devboxes/${id}/keep_alive`)).json()).toEqual({});
	expect((await fake.post(`/v1/devboxes/${id}/shutdown?force=true`)).json()).toMatchObject({
		status: "shutdown",
		shutdown_reason: "api_shutdown",
	});
	await fake.post(`/v1/devboxes/${id}/shutdown`);
	expect(fake.devboxes.calls.filter((call) => call.startsWith("shutdown"))).toEqual([
		"shutdown force=true",
		"shutdown force=false",
	]);
});

test("a wrong state is a 409 that is not to be repeated", async () => {
	fake.devboxes.failNext = new ConflictError("devbox is suspended");
	const response = await fake.post(`/v1/devboxes/${id}/suspend`);
	expect(response.statusCode).toBe(409);
	expect(response.headers["x-should-retry"]).toBe("false");
	expect(response.json()).toEqual({ message: "devbox is suspended", code: "conflict" });
});

test("the tunnel, with its token only when it needs one", async () => {
	fake.devboxes.boot(id, "running");
	const open = (await fake.post(`/v1/devboxes/${id}/enable_tunnel`)).json();
	expect(open).toMatchObject({ auth_mode: "open", http_keep_alive: true, wake_on_http: false });
	expect(open).not.toHaveProperty("auth_token");
	const closed = (await fake.post(`/v1/devboxes/${id}/enable_tunnel`, { auth_mode: "authenticated" })).json();
	expect(closed.auth_token).toBe("tunnel-token");
	expect((await fake.get(`/v1/devboxes/${id}`)).json().tunnel).toEqual(closed);
	expect((await fake.post(`/v1/devboxes/${id}/remove_tunnel`)).json()).toEqual({});
	expect((await fake.get(`/v1/devboxes/${id}`)).json().tunnel).toBeNull();
});

test("the tunnel's URL has a place for the port", async () => {
	fake.devboxes.boot(id, "running");
	const { tunnel_key, url } = (await fake.post(`/v1/devboxes/${id}/enable_tunnel`)).json();
	expect(url).toBe(testTunnelUrl(tunnel_key, "{port}"));
	expect((await fake.get(`/v1/devboxes/${id}`)).json().tunnel.url).toBe(url);
});

test("enable_tunnel takes every parameter, nulls, null and nothing", async () => {
	fake.devboxes.boot(id, "running");
	const enable = async (body: unknown) => {
		const headers = { authorization: "Bearer gw_test_key", "content-type": "application/json" };
		const url = `/v1/devboxes/${id}/enable_tunnel`;
		return (await fake.api.app.inject({ method: "POST", url, headers, payload: JSON.stringify(body) ?? "" })).json();
	};
	const all = {
		auth_mode: "authenticated",
		http_keep_alive: false,
		wake_on_http: true,
		wake_mode: "hold",
		cors_origins: ["https://app.example"],
		loopback_ports: [5173],
		port_rules: { "5173": { host_header: "localhost" } },
	};
	expect(await enable(all)).toMatchObject(all);
	const defaults = {
		auth_mode: "open",
		http_keep_alive: true,
		wake_on_http: false,
		wake_mode: "retry",
		cors_origins: [],
		loopback_ports: [],
		port_rules: {},
	};
	const nulls = Object.fromEntries(Object.keys(all).map((name) => [name, null]));
	for (const body of [nulls, {}, null, undefined]) expect(await enable(body)).toMatchObject(defaults);
});

describe("share links", () => {
	const links = () => `/v1/devboxes/${id}/tunnel/share_links`;
	const wanted = { port: 3000, path: "/a?b=c", expires_in_seconds: 60 };

	beforeEach(async () => {
		fake.devboxes.boot(id, "running");
		await fake.post(`/v1/devboxes/${id}/enable_tunnel`, { auth_mode: "authenticated" });
	});

	test("the URL is shown once, when the link is made, and no cache may keep it", async () => {
		const { tunnel_key } = (await fake.get(`/v1/devboxes/${id}`)).json().tunnel;
		const response = await fake.post(links(), wanted);
		const { url, ...link } = response.json();
		expect(url).toBe(`${testTunnelUrl(tunnel_key, 3000)}/a?b=c&gangway_share=link-token`);
		expect(link).toEqual({
			id: `shl_${"0".repeat(26)}`,
			port: 3000,
			path: "/a?b=c",
			create_time_ms: 1_700_000_000_000,
			expires_at_ms: 1_700_000_060_000,
		});
		expect(response.headers["cache-control"]).toBe("no-store");
		expect((await fake.get(links())).json()).toEqual({ share_links: [link] });
		expect((await fake.get(`/v1/devboxes/${id}`)).body).not.toContain("link-token");
	});

	test("the path is / where none is given", async () => {
		for (const path of [null, undefined]) {
			expect((await fake.post(links(), { ...wanted, path })).json()).toMatchObject({ path: "/" });
		}
	});

	test("a deleted link is gone, and an unknown one is not found", async () => {
		const { id: linkId } = (await fake.post(links(), wanted)).json();
		expect((await fake.del(`${links()}/${linkId}`)).json()).toEqual({});
		expect((await fake.get(links())).json()).toEqual({ share_links: [] });
		const again = await fake.del(`${links()}/${linkId}`);
		expect([again.statusCode, again.json().code]).toEqual([404, "not_found"]);
	});

	test("a repeat with the same key makes no second link", async () => {
		const headers = { "x-request-id": "one" };
		const first = (await fake.post(links(), wanted, headers)).json();
		expect((await fake.post(links(), wanted, headers)).json()).toEqual(first);
		expect((await fake.get(links())).json().share_links).toHaveLength(1);
	});

	test("a viewer may list them, but make and delete none", async () => {
		const { id: linkId } = (await fake.post(links(), wanted)).json();
		const viewer = { authorization: `Bearer ${viewerKey}` };
		expect((await fake.get(links(), viewer)).statusCode).toBe(200);
		expect((await fake.post(links(), wanted, viewer)).statusCode).toBe(403);
		expect((await fake.del(`${links()}/${linkId}`, viewer)).statusCode).toBe(403);
		expect((await fake.get(links())).json().share_links).toHaveLength(1);
	});

	test("an open tunnel's is a 409 that is not to be repeated", async () => {
		await fake.post(`/v1/devboxes/${id}/enable_tunnel`, {});
		const response = await fake.post(links(), wanted);
		expect([response.statusCode, response.headers["x-should-retry"]]).toEqual([409, "false"]);
	});

	test.each<[object, string]>([
		[{}, "port: is required"],
		[{ port: 3000 }, "expires_in_seconds: is required"],
		[{ ...wanted, port: 0 }, "port: must be ≥ 1"],
		[{ ...wanted, port: 65_536 }, "port: must be ≤ 65535"],
		[{ ...wanted, expires_in_seconds: 59 }, "expires_in_seconds: must be ≥ 60"],
		[{ ...wanted, expires_in_seconds: 31_536_001 }, "expires_in_seconds: must be ≤ 31536000"],
		[{ ...wanted, path: 1 }, "path: must be of type string or null"],
		[{ ...wanted, ports: [1] }, "ports: is not a known parameter"],
	])("%j is refused", async (body, message) => {
		const response = await fake.post(links(), body);
		expect([response.statusCode, response.json().message]).toEqual([400, message]);
	});
});

test("the SSH key, which no cache may keep", async () => {
	const response = await fake.post(`/v1/devboxes/${id}/create_ssh_key`);
	expect(response.json()).toEqual({
		id,
		ssh_private_key: expect.stringContaining("EC PRIVATE KEY"),
		ssh_user: "user",
		url: `${id.replace("_", "-")}.ssh.gangway.localhost`,
	});
	expect(response.headers["cache-control"]).toBe("no-store");
});

test("logs; a filter by execution or shell leaves nothing", async () => {
	fake.devboxes.logEntries = [{ timestampMs: 1, level: "info", source: "entrypoint", message: "hi" }];
	expect((await fake.get(`/v1/devboxes/${id}/logs`)).json().logs).toHaveLength(1);
	expect((await fake.get(`/v1/devboxes/${id}/logs?execution_id=e`)).json().logs).toEqual([]);
});

test("a call without parameters refuses them", async () => {
	const response = await fake.post(`/v1/devboxes/${id}/suspend`, { now: true });
	expect(response.json()).toEqual({ message: "now: is not a known parameter", code: "bad_request" });
});

test("a repeated create_ssh_key gets the key that opens the devbox now, a repeated rotation its own", async () => {
	const { id } = (await fake.post("/v1/devboxes")).json();
	const ask = async (verb: string, requestId: string) =>
		(await fake.post(`/v1/devboxes/${id}/${verb}`, undefined, { "x-request-id": requestId })).json().ssh_private_key;
	const first = await ask("create_ssh_key", "one");
	expect(await ask("create_ssh_key", "one")).toBe(first);
	const rotated = await ask("rotate_ssh_key", "two");
	expect(rotated).not.toBe(first);
	expect(await ask("rotate_ssh_key", "two")).toBe(rotated);
	expect(await ask("create_ssh_key", "one")).toBe(rotated);
	expect(fake.devboxes.rotations).toBe(1);
});
