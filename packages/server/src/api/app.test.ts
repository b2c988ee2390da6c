import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RuntimeError } from "../errors.js";
import { fakeApi, validKey, viewerKey } from "./fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
beforeEach(async () => {
	fake = await fakeApi({ limits: { bodyBytes: 1000 } });
});
afterEach(() => fake.api.close());

describe("who may ask", () => {
	test.each([undefined, "", "Bearer nope", validKey])(
		"authorization %j is a 401 that names the scheme",
		async (header) => {
			const headers = header === undefined ? {} : { authorization: header };
			for (const request of [
				{ method: "GET", url: "/v1/devboxes" },
				{ method: "POST", url: "/v1/devboxes", payload: { nonsense: 1 } },
				{ method: "POST", url: "/v1/devboxes/dbx_1/create_ssh_key" },
			] as const) {
				const response = await fake.api.app.inject({ ...request, headers });
				expect(response.statusCode).toBe(401);
				expect(response.headers["www-authenticate"]).toBe('Bearer realm="gangway"');
				expect(response.json()).toEqual({ message: expect.stringContaining("API key"), code: "unauthorized" });
			}
			expect(fake.devboxes.calls).toEqual([]);
		},
	);
});

describe("what a role may do", () => {
	const asViewer = { authorization: `Bearer ${viewerKey}` };

	test("a viewer sees devboxes, but no token of their tunnels", async () => {
		const { id } = (await fake.post("/v1/devboxes", { tunnel: { auth_mode: "authenticated" } })).json();
		await fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"] });
		const views = [
			(await fake.get(`/v1/devboxes/${id}`, asViewer)).json(),
			(await fake.get("/v1/devboxes", asViewer)).json().devboxes[0],
			(await fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"] }, asViewer)).json(),
		];
		for (const { tunnel } of views)
			expect(tunnel).toEqual(expect.not.objectContaining({ auth_token: expect.anything() }));
		expect((await fake.get(`/v1/devboxes/${id}`)).json().tunnel.auth_token).toBe("tunnel-token");
		expect((await fake.get(`/v1/devboxes/${id}/logs`, asViewer)).statusCode).toBe(200);
	});

	test.each([
		"",
		"/create_and_await_running",
		"/dbx_1",
		"/dbx_1/suspend",
		"/dbx_1/resume",
		"/dbx_1/shutdown",
		"/dbx_1/keep_alive",
		"/dbx_1/create_ssh_key",
		"/dbx_1/rotate_ssh_key",
		"/dbx_1/enable_tunnel",
		"/dbx_1/remove_tunnel",
	])("a viewer may not POST /v1/devboxes%s", async (path) => {
		const response = await fake.post(`/v1/devboxes${path}`, {}, asViewer);
		expect([response.statusCode, response.json().code]).toEqual([403, "forbidden"]);
		expect(fake.devboxes.calls).toEqual([]);
	});
});

describe("errors in the dialect's shape", () => {
	test.each([
		["GET", "/v2/devboxes"],
		["DELETE", "/v1/devboxes"],
		["POST", "/v1/devboxes/dbx_1/execute"],
	] as const)("%s %s is a 404 that names it", async (method, url) => {
		const response = await fake.api.app.inject({ method, url: `${url}?secret=1` });
		expect([response.statusCode, response.json()]).toEqual([
			404,
			{ message: `route ${method} ${url} not found`, code: "not_found" },
		]);
	});

	test("an unknown devbox is a 404", async () => {
		const response = await fake.get("/v1/devboxes/dbx_none");
		expect([response.statusCode, response.json()]).toEqual([
			404,
			{ message: "devbox dbx_none not found", code: "not_found" },
		]);
	});

	test("a path that is not valid percent-encoding", async () => {
		const response = await fake.get("/v1/devboxes/%zz");
		expect([response.statusCode, response.json().code]).toEqual([400, "bad_request"]);
		expect(response.headers).toHaveProperty("x-gangway-request-id");
	});

	test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])(
		"content type %s is a 415",
		async (type) => {
			const headers = { authorization: `Bearer ${validKey}`, "content-type": type };
			const response = await fake.api.app.inject({ method: "POST", url: "/v1/devboxes", headers, payload: "{}" });
			expect([response.statusCode, response.json()]).toEqual([
				415,
				{ message: "content-type: must be application/json", code: "unsupported_media_type" },
			]);
		},
	);

	test("a body that is too large is a 413", async () => {
		const response = await fake.post("/v1/devboxes", { name: "x".repeat(1000) });
		expect([response.statusCode, response.json().code]).toEqual([413, "payload_too_large"]);
	});

	test("a fault tells the client a request id and the log its cause", async () => {
		fake.devboxes.failNext = new Error("secret path /var/lib/x");
		const response = await fake.get("/v1/devboxes");
		const id = response.headers["x-gangway-request-id"];
		expect([response.statusCode, response.json()]).toEqual([
			500,
			{ message: `internal error (request ${id})`, code: "internal" },
		]);
		expect(fake.logLines.find((line) => line.includes("secret path"))).toContain(id);
	});

	test("a fault with a public message keeps its cause to the log", async () => {
		fake.devboxes.failNext = new RuntimeError("failed", "the devbox could not be started", {
			cause: new Error("inner"),
		});
		const response = await fake.get("/v1/devboxes");
		expect([response.statusCode, response.json()]).toEqual([
			500,
			{ message: "the devbox could not be started", code: "failed" },
		]);
		expect(fake.logLines.join("")).toContain("inner");
	});
});

describe("the log", () => {
	test("one line for each request, with the devbox and without secrets", async () => {
		const { id } = (await fake.post("/v1/devboxes", { entrypoint: "hunter2" }, { "x-request-id": "client-id" })).json();
		await fake.post(`/v1/devboxes/${id}/create_ssh_key?token=hunter2`);
		const lines = fake.logLines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "answered");
		expect(lines).toMatchObject([
			{ method: "POST", path: "/v1/devboxes", status: 200, devboxId: id, apiKeyId: "key_1" },
			{ method: "POST", path: `/v1/devboxes/${id}/create_ssh_key`, status: 400, devboxId: id },
		]);
		expect(lines[0].requestId).not.toBe("client-id");
		for (const secret of [validKey, "hunter2", "PRIVATE KEY"]) expect(fake.logLines.join("")).not.toContain(secret);
	});
});

describe("close", () => {
	test("ends what is held and refuses what comes later; twice is fine", async () => {
		fake.devboxes.bootsTo = undefined;
		const { id } = (await fake.post("/v1/devboxes")).json();
		const wait = fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"] });
		const create = fake.post("/v1/devboxes/create_and_await_running", {});
		await expect.poll(() => fake.devboxes.calls.filter((call) => call === "waitForStatus")).toHaveLength(2);
		const closed = fake.api.close();
		expect((await wait).statusCode).toBe(408);
		expect((await create).json()).toMatchObject({ status: "provisioning" });
		await closed;
		await fake.api.close();
	});
});
