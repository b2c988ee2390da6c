/** The official client, over the transport it uses by default: prior-knowledge HTTP/2. */
import { AuthenticationError, BadRequestError, ConflictError, NotFoundError, RunloopSDK } from "@runloop/api-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApi, gate, serveHttp2, validKey } from "./fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
let stop: () => Promise<void>;
let baseURL: string;
let sdk: RunloopSDK;
let requests: number;

beforeEach(async () => {
	fake = await fakeApi({ limits: { createHoldMs: 100, waitHoldMs: 100 } });
	const server = await serveHttp2(fake.api);
	requests = 0;
	server.onRequest(() => requests++);
	baseURL = server.url;
	sdk = new RunloopSDK({ baseURL, bearerToken: validKey });
	stop = server.stop;
});
afterEach(() => stop());

test("create waits until the devbox runs; its view is what was asked for", async () => {
	const devbox = await sdk.devbox.create({ name: "web", metadata: { a: "b" }, file_mounts: { "a.txt": "A" } });
	expect(await devbox.getInfo()).toMatchObject({ id: devbox.id, name: "web", status: "running", metadata: { a: "b" } });
	expect(fake.devboxes.created).toEqual([{ name: "web", metadata: { a: "b" }, files: { "a.txt": "A" } }]);
});

test("create goes on with wait_for_status when the first answer comes too early", async () => {
	fake.devboxes.bootsTo = undefined;
	const created = sdk.devbox.create();
	// The first hold and one wait are over.
	await expect.poll(() => fake.devboxes.calls.filter((call) => call === "waitForStatus").length).toBeGreaterThan(2);
	fake.devboxes.boot(fake.devboxes.boxes[0]?.id as string, "running");
	expect((await (await created).getInfo()).status).toBe("running");
});

test("a devbox that fails makes create fail, with its status", async () => {
	fake.devboxes.bootsTo = "failure";
	await expect(sdk.devbox.create()).rejects.toThrow("non-running state failure");
});

test("awaitRunning of a devbox that has ended fails promptly", async () => {
	const devbox = await sdk.devbox.create();
	await devbox.shutdown();
	await expect(devbox.awaitRunning()).rejects.toThrow("non-running state shutdown");
});

test("create without waiting, retrieve, update", async () => {
	const { id, status } = await sdk.api.devboxes.create({ launch_parameters: { resource_size_request: "SMALL" } });
	expect(status).toBe("provisioning");
	expect((await sdk.api.devboxes.retrieve(id)).launch_parameters.resource_size_request).toBe("SMALL");
	expect((await sdk.api.devboxes.update(id, { name: "new" })).name).toBe("new");
});

test("suspend and resume, awaited", async () => {
	const devbox = await sdk.devbox.create();
	await devbox.suspend();
	expect((await devbox.awaitSuspended()).status).toBe("suspended");
	expect((await devbox.resume()).status).toBe("running");
	expect(await devbox.keepAlive()).toEqual({});
	expect((await devbox.shutdown()).status).toBe("shutdown");
	expect((await sdk.api.devboxes.shutdown((await sdk.devbox.create()).id, { force: "true" })).status).toBe("shutdown");
});

test("list goes through all pages by itself", async () => {
	for (let n = 0; n < 5; n++) await sdk.api.devboxes.create({ name: `n${n}` });
	const names: (string | null | undefined)[] = [];
	for await (const { name } of sdk.api.devboxes.list({ limit: 2 })) names.push(name);
	expect(names).toEqual(["n4", "n3", "n2", "n1", "n0"]);
	const page = await sdk.api.devboxes.list({ limit: 2, status: "suspended" });
	expect([page.devboxes, page.total_count, page.has_more]).toEqual([[], 0, false]);
});

test("SSH key, tunnel, logs", async () => {
	fake.devboxes.logEntries = [{ timestampMs: 1, level: "info", source: "setup_commands", cmd: "true" }];
	const devbox = await sdk.devbox.create({ launch_parameters: { user_parameters: { username: "ann", uid: 1001 } } });
	const key = await devbox.net.createSSHKey();
	expect(key).toMatchObject({
		id: devbox.id,
		ssh_user: "ann",
		url: `${devbox.id.replace("_", "-")}.ssh.gangway.localhost`,
	});
	const tunnel = await devbox.net.enableTunnel({ auth_mode: "authenticated" });
	expect(tunnel.auth_token).toBe("tunnel-token");
	expect(await devbox.getTunnel()).toEqual(tunnel);
	expect(await devbox.getTunnelUrl(8080)).toContain(`8080-${tunnel.tunnel_key}.tunnel.`);
	expect(await devbox.net.removeTunnel()).toEqual({});
	expect(await devbox.getTunnel()).toBeNull();
	expect((await devbox.net.enableTunnel()).auth_mode).toBe("open");
	expect((await devbox.logs()).logs).toEqual([
		{ timestamp_ms: 1, level: "info", source: "setup_commands", cmd: "true" },
	]);
});

describe("errors become the client's classes, with the message", () => {
	test("400", async () => {
		const creating = sdk.api.devboxes.create({ snapshot_id: "snp_1" });
		await expect(creating).rejects.toThrow(BadRequestError);
		await expect(creating).rejects.toThrow("snapshot_id: is not supported by Gangway yet");
	});

	test("401", async () => {
		const stranger = new RunloopSDK({ baseURL, bearerToken: "nope" });
		await expect(stranger.api.devboxes.list()).rejects.toThrow(AuthenticationError);
	});

	test("404", async () => {
		await expect(sdk.api.devboxes.retrieve("dbx_none")).rejects.toThrow(NotFoundError);
	});

	test("409, and it is not repeated", async () => {
		const { id } = await sdk.devbox.create();
		const devbox = sdk.devbox.fromId(id);
		await devbox.suspend();
		await devbox.awaitSuspended();
		fake.devboxes.calls.length = 0;
		await expect(devbox.suspend()).rejects.toThrow(ConflictError);
		await expect(devbox.net.enableTunnel()).rejects.toThrow(ConflictError);
		expect(fake.devboxes.calls).toEqual(["suspend", "enableTunnel"]);
	});
});

describe("repeats", () => {
	test("with the same idempotency key: one devbox", async () => {
		const once = { idempotencyKey: "mine" };
		const first = await sdk.api.devboxes.create({ name: "a" }, once);
		expect(await sdk.api.devboxes.create({ name: "a" }, once)).toEqual(first);
		expect(fake.devboxes.boxes).toHaveLength(1);
	});

	test("by itself after a fault: one devbox", async () => {
		fake.devboxes.afterCommit = () => {
			fake.devboxes.afterCommit = async () => {};
			return Promise.reject(new Error("a fault after the devbox was made"));
		};
		fake.devboxes.bootsTo = undefined;
		const { id } = await sdk.api.devboxes.create();
		expect(fake.devboxes.boxes.map((box) => box.id)).toEqual([id]);
	});

	test("by itself after its own time-out: one devbox, which both wait for", async () => {
		const held = gate();
		fake.devboxes.gate = held.promise;
		const created = sdk.devbox.create({}, { timeout: 200 });
		// The client has given up on its first request and sent a second.
		await expect.poll(() => requests, { timeout: 10_000 }).toBe(2);
		held.open();
		const { id } = await created;
		expect(fake.devboxes.boxes.map((box) => box.id)).toEqual([id]);
	});
});
