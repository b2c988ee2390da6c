/** The official client of the dialect, unchanged, against the built daemon. */
import { readFileSync } from "node:fs";
import Runloop, { RunloopSDK } from "@runloop/api-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminApiKey, Daemon } from "./support/daemon.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let sdk: RunloopSDK;
beforeAll(async () => {
	daemon = await Daemon.start();
	sdk = daemon.sdk();
});
afterAll(() => daemon?.remove());

/** Without repeats, so that a test sees the first answer. */
const once = { maxRetries: 0 };

type ErrorClass = new (...args: never[]) => InstanceType<typeof Runloop.APIError>;

/** What the client throws. */
async function thrown(call: Promise<unknown>, type: ErrorClass) {
	const error = await call.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	expect(error).toBeInstanceOf(type);
	return error as InstanceType<typeof Runloop.APIError>;
}

describe.each<[string, () => ConstructorParameters<typeof RunloopSDK>[0]]>([
	["HTTP/2 with prior knowledge", () => ({ baseURL: `http://127.0.0.1:${daemon.endpoints.http_port}` })],
	[
		"HTTP/2 over TLS",
		() => ({
			baseURL: `https://localhost:${daemon.endpoints.tls_port}`,
			http2: { tlsOptions: { ca: readFileSync(daemon.endpoints.ca_cert) } },
		}),
	],
	["HTTP/1.1", () => ({ baseURL: `http://localhost:${daemon.endpoints.http_port}`, http2: false })],
])("over %s", (_, options) => {
	test("a devbox's whole life", async () => {
		const runloop = new RunloopSDK({ ...options(), bearerToken: adminApiKey, timeout: 30_000 });
		const devbox = await runloop.devbox.create({ name: "life", metadata: { a: "1" } });
		expect(devbox.id).toMatch(/^dbx_[0-9a-z]{26}$/);
		expect(await devbox.getInfo()).toMatchObject({ name: "life", status: "running", metadata: { a: "1" } });

		await devbox.keepAlive();
		const key = await devbox.net.createSSHKey();
		expect(key).toMatchObject({
			ssh_private_key: expect.stringMatching(/^-----BEGIN EC PRIVATE KEY-----\n/),
			ssh_user: "user",
			url: `${devbox.id.replace("_", "-")}.ssh.gangway.localhost`,
		});

		const tunnel = await devbox.net.enableTunnel({ auth_mode: "authenticated" });
		expect(tunnel).toMatchObject({ auth_mode: "authenticated", auth_token: expect.any(String) });
		expect(await devbox.getTunnel()).toEqual(tunnel);
		expect(await devbox.getTunnelUrl(8080)).toContain(`//8080-${tunnel.tunnel_key}.tunnel.`);

		await devbox.suspend();
		expect(await devbox.awaitSuspended()).toMatchObject({ status: "suspended", tunnel });
		expect(await devbox.resume()).toMatchObject({ status: "running", tunnel });
		expect(await devbox.net.createSSHKey()).toEqual(key);

		await devbox.net.removeTunnel();
		expect(await devbox.getTunnel()).toBeNull();
		const end = await devbox.shutdown();
		expect(end).toMatchObject({ status: "shutdown", shutdown_reason: "api_shutdown" });
		expect(end.end_time_ms).toBeGreaterThanOrEqual(end.create_time_ms);
	});
});

describe("creating", () => {
	test("create answers at once, createAndAwaitRunning when it runs", async () => {
		const begun = await sdk.api.devboxes.create({ name: "begun" });
		expect(begun.status).toBe("provisioning");
		expect(await sdk.api.devboxes.awaitRunning(begun.id)).toMatchObject({ status: "running" });
		const running = await sdk.api.devboxes.createAndAwaitRunning({ name: "running" });
		expect(running.status).toBe("running");
		await Promise.all([begun, running].map(({ id }) => sdk.api.devboxes.shutdown(id)));
	});

	test("what launch commands and entrypoint print is in the logs", async () => {
		const devbox = await sdk.devbox.create({
			environment_variables: { GREETING: "hello" },
			file_mounts: { "note.txt": "from a file\n" },
			launch_parameters: {
				launch_commands: ["cat note.txt", 'echo "$GREETING $USER"', "id -u"],
				user_parameters: { username: "ada", uid: 1234 },
			},
			entrypoint: "echo entered >&2; exec sleep infinity",
		});
		const { logs } = await devbox.logs();
		const lines = (source: string) => logs.filter((entry) => entry.source === source).map(({ message }) => message);
		expect(lines("setup_commands").filter(Boolean)).toEqual(["from a file", "hello ada", "1234"]);
		expect(logs.filter(({ exit_code }) => exit_code === 0).map(({ cmd }) => cmd)).toEqual([
			"cat note.txt",
			'echo "$GREETING $USER"',
			"id -u",
		]);
		await devbox.shutdown();
	});

	test("ten at once all run", async () => {
		const boxes = await Promise.all(
			Array.from({ length: 10 }, (_, n) => sdk.api.devboxes.createAndAwaitRunning({ name: `many ${n}` })),
		);
		expect(new Set(boxes.map(({ id }) => id)).size).toBe(10);
		expect(boxes.map(({ status }) => status)).toEqual(Array(10).fill("running"));
		await Promise.all(boxes.map(({ id }) => sdk.api.devboxes.shutdown(id)));
	});
});

describe("listing", () => {
	test("pages follow each other, newest first", async () => {
		const made: string[] = [];
		for (const name of ["one", "two", "three", "four", "five"]) {
			// A box that is still starting is listed like any other.
			made.unshift((await sdk.api.devboxes.create({ name })).id);
		}
		const listed: string[] = [];
		for await (const { id } of sdk.api.devboxes.list({ limit: 2 })) listed.push(id);
		expect(listed.slice(0, 5)).toEqual(made);
		expect(new Set(listed).size).toBe(listed.length);

		await Promise.all(made.map((id) => sdk.api.devboxes.shutdown(id)));
		const ended = new Set<string>();
		for await (const box of sdk.api.devboxes.list({ limit: 3, status: "shutdown" })) {
			expect(box.status).toBe("shutdown");
			ended.add(box.id);
		}
		expect([...ended]).toEqual(expect.arrayContaining(made));
	});
});

describe("changing name and metadata", () => {
	test("what is left out stays, what is empty is cleared", async () => {
		const { id } = await sdk.api.devboxes.create({ name: "first", metadata: { a: "1", b: "2" } });
		const update = (change: Runloop.DevboxUpdateParams) => sdk.api.devboxes.update(id, change);
		expect(await update({ name: "second" })).toMatchObject({ name: "second", metadata: { a: "1", b: "2" } });
		expect(await update({ metadata: { c: "3" } })).toMatchObject({ name: "second", metadata: { c: "3" } });
		expect(await update({ name: "", metadata: {} })).toMatchObject({ name: null, metadata: {} });
		await sdk.api.devboxes.shutdown(id);
	});
});

describe("errors", () => {
	test("401 without a valid key", async () => {
		const stranger = daemon.sdk({ bearerToken: "gw_not_a_key_of_this_installation" });
		const error = await thrown(stranger.api.devboxes.list({}, once).then(String), Runloop.AuthenticationError);
		expect(error.message).toContain("Authorization: Bearer");
	});

	test("404 for a devbox that is not there, and for a route", async () => {
		const id = "dbx_00000000000000000000000000";
		expect((await thrown(sdk.api.devboxes.retrieve(id), Runloop.NotFoundError)).message).toContain(id);
		const error = await thrown(sdk.api.get("/v1/nothing"), Runloop.NotFoundError);
		expect(error.error).toEqual({ code: "not_found", message: "route GET /v1/nothing not found" });
	});

	test("409 for a wrong state, once: the client does not repeat it", async () => {
		const { id } = await sdk.api.devboxes.createAndAwaitRunning({});
		await sdk.api.devboxes.shutdown(id);
		const asked = () => daemon.stderr.split(`"path":"/v1/devboxes/${id}/resume"`).length - 1;
		const error = await thrown(sdk.api.devboxes.resume(id), Runloop.ConflictError);
		expect(error.message).toContain("shutdown");
		await until("the request is in the log", () => asked() > 0);
		await thrown(sdk.api.devboxes.enableTunnel(id, {}), Runloop.ConflictError);
		await thrown(sdk.api.devboxes.createSSHKey(id), Runloop.ConflictError);
		await expect(sdk.api.devboxes.awaitRunning(id)).rejects.toThrow("shutdown");
		expect(asked()).toBe(1);
	});

	test.each<[string, object]>([
		["metadata.n", { metadata: { n: 1 } }],
		["nmae", { nmae: "x" }],
		["launch_parameters.keep_alive_time_seconds", { launch_parameters: { keep_alive_time_seconds: 0 } }],
		[
			"launch_parameters.user_parameters.username",
			{ launch_parameters: { user_parameters: { username: "A b", uid: 1000 } } },
		],
		["launch_parameters.resource_size_request", { launch_parameters: { resource_size_request: "HUGE" } }],
		["file_mounts", { file_mounts: { "../../etc/passwd": "x" } }],
		["environment_variables.A-B", { environment_variables: { "A-B": "x" } }],
		["tunnel.auth_mode", { tunnel: { auth_mode: "secret" } }],
		[
			"launch_parameters.after_idle",
			{
				launch_parameters: {
					after_idle: { idle_time_seconds: 60, on_idle: "suspend" },
					lifecycle: { after_idle: { idle_time_seconds: 61, on_idle: "suspend" } },
				},
			},
		],
	])("400 that names %s", async (field, body) => {
		const error = await thrown(sdk.api.devboxes.create(body), Runloop.BadRequestError);
		expect(error.error).toEqual({ code: "bad_request", message: expect.stringContaining(field) });
	});

	test.each<[string, object]>([
		["blueprint_id", { blueprint_id: "bp_1" }],
		["blueprint_name", { blueprint_name: "node" }],
		["snapshot_id", { snapshot_id: "snp_1" }],
		["secrets", { secrets: { TOKEN: "name" } }],
		["code_mounts", { code_mounts: [{ repo_name: "r", repo_owner: "o" }] }],
		["gateways", { gateways: { G: { gateway: "g", secret: "s" } } }],
		["mcp", { mcp: { M: { mcp_config: "m", secret: "s" } } }],
		["mounts[0].type", { mounts: [{ type: "object_mount", object_id: "o", object_path: "/o" }] }],
		["launch_parameters.network_policy_id", { launch_parameters: { network_policy_id: "np_1" } }],
	])("400 for %s, which Gangway does not have yet", async (field, body) => {
		const error = await thrown(sdk.api.devboxes.create(body), Runloop.BadRequestError);
		expect(error.message).toContain(field);
		expect(error.message).toContain("not supported");
	});
});

describe("a POST that is repeated with its x-request-id", () => {
	/** The client sends it as x-request-id. */
	const named = (requestId: string) => ({ idempotencyKey: requestId });

	test("makes one devbox, however often and at once", async () => {
		const requestId = crypto.randomUUID();
		const call = () => sdk.api.devboxes.create({ name: "once" }, named(requestId));
		const boxes = await Promise.all([call(), call(), call()]);
		expect(new Set([...boxes, await call()].map(({ id }) => id)).size).toBe(1);
		const other = await sdk.api.devboxes.create({ name: "other" }, named(crypto.randomUUID()));
		expect(other.id).not.toBe(boxes[0]?.id);
		await Promise.all([boxes[0]!.id, other.id].map((id) => sdk.api.devboxes.shutdown(id)));
	});

	test("is refused for another call", async () => {
		const requestId = crypto.randomUUID();
		const { id } = await sdk.api.devboxes.create({}, named(requestId));
		const error = await thrown(sdk.api.devboxes.shutdown(id, {}, named(requestId)), Runloop.BadRequestError);
		expect(error.message).toContain("x-request-id");
		await sdk.api.devboxes.shutdown(id);
	});

	test("finds its devbox after a crash of the daemon", async () => {
		const requestId = crypto.randomUUID();
		const first = await sdk.api.devboxes.create({ name: "survivor" }, named(requestId));
		await daemon.kill();
		await daemon.start();
		const again = await sdk.api.devboxes.create({ name: "survivor" }, named(crypto.randomUUID()));
		const repeated = await sdk.api.devboxes.create({ name: "survivor" }, named(requestId));
		expect(repeated.id).toBe(first.id);
		expect(again.id).not.toBe(first.id);
		expect(await sdk.api.devboxes.awaitRunning(first.id)).toMatchObject({ status: "running" });
	});

	test("finds its devbox when the crash came before the answer", async () => {
		const requestId = crypto.randomUUID();
		const name = `cut off ${requestId}`;
		// Over HTTP/2 this client waits for ever when its connection ends without an error.
		const http1 = daemon.sdk({ http2: false });
		const cutOff = http1.api.devboxes
			.createAndAwaitRunning({ name, launch_parameters: { launch_commands: ["sleep 0.5"] } }, named(requestId))
			.then(({ id }) => id);
		cutOff.catch(() => {});
		const created = async () => (await sdk.api.devboxes.list({ limit: 5 })).devboxes.some((box) => box.name === name);
		while (!(await created()));
		await daemon.kill();
		await daemon.start();
		// The client repeats the call by itself, with the same id.
		const id = await cutOff;
		const boxes = (await sdk.api.devboxes.list({ limit: 10 })).devboxes.filter((box) => box.name === name);
		expect(boxes.map((box) => box.id)).toEqual([id]);
		expect(await sdk.api.devboxes.awaitRunning(id)).toMatchObject({ status: "running" });
	});
});
