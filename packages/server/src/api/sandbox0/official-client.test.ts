/** The official client of the dialect, unchanged. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { APIError, apis, Client, runtime } from "sandbox0";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ConflictError } from "../../errors.js";
import { fakeApi, validKey, viewerKey } from "../fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
let baseUrl: string;
let client: Client;
let stop: () => Promise<void>;

beforeEach(async () => {
	fake = await fakeApi({ limits: { createHoldMs: 100 } });
	const server = createServer(fake.api.handler).listen(0, "127.0.0.1");
	await once(server, "listening");
	baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
	client = new Client({ baseUrl, token: validKey });
	stop = async () => {
		await fake.api.close();
		server.closeAllConnections();
		server.close();
	};
});
afterEach(() => stop());

/** What the client throws. */
async function refusal(call: Promise<unknown>) {
	const error = await call.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	expect(error).toBeInstanceOf(APIError);
	const { statusCode, code, message } = error as APIError;
	return { statusCode, code, message };
}

describe("sandboxes", () => {
	test("claimed, looked at, paused, resumed, refreshed, deleted", async () => {
		const sandbox = await client.sandboxes.claim("default", { ttl: 600, hardTtl: 3600, envVars: { A: "b" } });
		const { id } = sandbox;
		expect(sandbox).toMatchObject({ status: "running", podName: id, template: "default" });
		expect(fake.devboxes.created[0]).toEqual({
			environmentVariables: { A: "b" },
			launchParameters: { ttlSeconds: 600, hardTtlSeconds: 3600 },
		});
		const detail = await client.sandboxes.get(id);
		expect(detail).toMatchObject({
			id,
			templateId: "default",
			teamId: "team_1",
			userId: "usr_1",
			status: "running",
			paused: false,
			autoResume: true,
			podName: id,
			runtimeGeneration: 1,
			ssh: { host: "127.0.0.1", port: 7022, username: id },
		});
		const { claimedAt, expiresAt, hardExpiresAt } = detail;
		expect(expiresAt.getTime() - claimedAt.getTime()).toBe(600_000);
		expect(hardExpiresAt.getTime() - claimedAt.getTime()).toBe(3_600_000);
		expect(await client.sandboxes.status(id)).toMatchObject({ sandboxId: id, status: "running", teamId: "team_1" });

		expect(await client.sandboxes.pause(id)).toMatchObject({ sandboxId: id, paused: true, status: "paused" });
		expect(await client.sandboxes.get(id)).toMatchObject({ status: "paused", paused: true });
		expect(await client.sandboxes.resume(id)).toMatchObject({ sandboxId: id, resumed: true });
		expect(await client.sandboxes.get(id)).toMatchObject({ status: "running", runtimeGeneration: 2 });
		const refreshed = await client.sandboxes.refresh(id, { duration: 7200 });
		expect(refreshed.expiresAt.getTime()).toBeGreaterThan(expiresAt.getTime());
		expect(refreshed.hardExpiresAt).toEqual(hardExpiresAt);
		expect((await client.sandboxes.refresh(id)).expiresAt.getTime()).toBeLessThan(refreshed.expiresAt.getTime());

		await client.sandboxes.delete(id);
		expect(await refusal(client.sandboxes.get(id))).toMatchObject({ statusCode: 404, code: "not_found" });
	});

	test("the waiting calls of the client see what they wait for", async () => {
		const { id } = await client.sandboxes.claim("default");
		expect(await client.sandboxes.pauseAndWait(id)).toMatchObject({ status: "paused" });
		expect(await client.sandboxes.resumeAndWait(id)).toMatchObject({ status: "running", runtimeGeneration: 2 });
	});

	test("what never expires has null for it", async () => {
		const { id } = await client.sandboxes.claim("default", { ttl: 0 });
		expect((await fake.get(`/api/v1/sandboxes/${id}`)).json().data).toMatchObject({
			expires_at: null,
			hard_expires_at: null,
		});
	});

	test("memory, and the CPU that follows from it", async () => {
		for (const [memory, gib] of [
			["512Mi", 0.5],
			["4Gi", 4],
			["128Mi", 0.125],
		] as const) {
			await client.sandboxes.claim("default", { memory });
			expect(fake.devboxes.created.at(-1)?.launchParameters).toEqual({
				size: "CUSTOM_SIZE",
				customGbMemory: gib,
				customCpuCores: Math.max(0.15, gib / 2),
			});
		}
		for (const memory of ["lots", "-1Gi", "127Mi", "513Gi", "1e3"]) {
			expect(await refusal(client.sandboxes.claim("default", { memory }))).toMatchObject({
				statusCode: 400,
				message: expect.stringMatching(/^config\.resources\.memory: must be /),
			});
		}
	});

	test("auto_resume: false keeps SSH and tunnels from resuming it, in words of the other dialect too", async () => {
		const { id } = await client.sandboxes.claim("default", { autoResume: false });
		expect(await client.sandboxes.get(id)).toMatchObject({ autoResume: false });
		expect((await fake.get(`/v1/devboxes/${id}`)).json().launch_parameters.lifecycle.resume_triggers).toEqual({
			http: false,
			ssh: false,
		});
	});

	test("are the devboxes of the other dialect, in pages", async () => {
		const ids: string[] = [];
		for (let n = 0; n < 3; n++) ids.unshift((await fake.post("/v1/devboxes", { name: `n${n}` })).json().id);
		await expect.poll(async () => (await client.sandboxes.list({ status: "running" })).count).toBe(3);
		await client.sandboxes.pause(ids[2]!);
		const first = await client.sandboxes.list({ limit: 2 });
		expect([first.sandboxes.map(({ id }) => id), first.count, first.hasMore]).toEqual([ids.slice(0, 2), 3, true]);
		const rest = await client.sandboxes.list({ limit: 2, offset: 2 });
		expect([rest.sandboxes.map(({ id }) => id), rest.hasMore]).toEqual([[ids[2]], false]);
		expect((await client.sandboxes.list({ paused: true })).sandboxes).toMatchObject([{ id: ids[2], status: "paused" }]);
		expect(await client.sandboxes.list({ paused: false })).toMatchObject({ count: 2 });
		expect(await client.sandboxes.list({ status: "paused", paused: false })).toMatchObject({ count: 0 });
		expect(await client.sandboxes.list({ templateId: "other" })).toMatchObject({ count: 0, sandboxes: [] });
		await client.sandboxes.delete(ids[0]!);
		expect(await client.sandboxes.list()).toMatchObject({ count: 2 });
		expect((await fake.get(`/v1/devboxes/${ids[0]}`)).json().status).toBe("shutdown");
	});
});

describe("SSH keys", () => {
	const keysOf = (token: string) =>
		new apis.UsersApi(new runtime.Configuration({ basePath: baseUrl, accessToken: token }));
	const publicKey = "ssh-ed25519 AAAA ann@laptop";

	test("uploaded, listed, deleted", async () => {
		const users = keysOf(validKey);
		const { data: key } = await users.usersMeSshKeysPost({ createSSHPublicKeyRequest: { name: "laptop", publicKey } });
		expect(key).toEqual({
			id: "sshk_0",
			name: "laptop",
			publicKey,
			keyType: "ssh-ed25519",
			fingerprintSha256: "SHA256:sshk_0",
			comment: "ann@laptop",
			createdAt: new Date(1_700_000_000_000),
			updatedAt: new Date(1_700_000_000_000),
		});
		expect((await users.usersMeSshKeysGet()).data?.sshKeys).toEqual([key]);
		await users.usersMeSshKeysIdDelete({ id: "sshk_0" });
		expect((await users.usersMeSshKeysGet()).data?.sshKeys).toEqual([]);
	});

	test("a viewer has some too: in another team they may be a member", async () => {
		const create = { createSSHPublicKeyRequest: { name: "laptop", publicKey } };
		expect((await keysOf(viewerKey).usersMeSshKeysPost(create)).data?.name).toBe("laptop");
	});

	test("statuses and errors on the wire", async () => {
		const post = (body: object) => fake.post("/users/me/ssh-keys", body);
		expect((await post({ name: "a", public_key: publicKey })).statusCode).toBe(201);
		for (const [answer, status, code] of [
			[await post({ name: "a", public_key: publicKey }), 409, "conflict"],
			[await post({ name: "a", public_key: "nonsense" }), 400, "bad_request"],
			[await post({ name: "a" }), 400, "bad_request"],
			[await fake.del("/users/me/ssh-keys/sshk_none"), 404, "not_found"],
			[await fake.get("/users/me/ssh-keys", { authorization: "Bearer nope" }), 401, "unauthorized"],
			[await fake.get("/users/me/nothing"), 404, "not_found"],
			[await fake.get("/users/me/ssh-keys/%zz"), 400, "bad_request"],
			[await fake.get(`/api/v1/sandboxes/${"x".repeat(300)}`), 414, "bad_request"],
		] as const) {
			expect(answer.statusCode).toBe(status);
			expect(answer.json()).toEqual({ success: false, error: { code, message: expect.any(String) } });
		}
		const deleted = await fake.del("/users/me/ssh-keys/sshk_0");
		expect([deleted.statusCode, deleted.json()]).toEqual([
			200,
			{ success: true, data: { message: "SSH key deleted" } },
		]);
	});
});

describe("refusals reach the caller of the client", () => {
	test("no such template, no such sandbox, no such route", async () => {
		expect(await refusal(client.sandboxes.claim("python"))).toEqual({
			statusCode: 404,
			code: "not_found",
			message: "template not found",
		});
		expect(await refusal(client.sandboxes.pause("dbx_none"))).toMatchObject({ statusCode: 404, code: "not_found" });
		expect(await refusal(client.templates.list())).toMatchObject({ statusCode: 404, code: "not_found" });
	});

	test("a stranger, a viewer", async () => {
		const stranger = new Client({ baseUrl, token: "nope" });
		expect(await refusal(stranger.sandboxes.list())).toMatchObject({ statusCode: 401, code: "unauthorized" });
		const viewer = new Client({ baseUrl, token: viewerKey });
		expect(await viewer.sandboxes.list()).toMatchObject({ count: 0 });
		expect(await refusal(viewer.sandboxes.claim("default"))).toMatchObject({ statusCode: 403, code: "forbidden" });
	});

	test("what Gangway does not have yet, by name", async () => {
		for (const [config, field] of [
			[{ webhook: { url: "https://example.com" } }, "config.webhook"],
			[{ services: [{ name: "web", port: 80 }] }, "config.services"],
		] as const) {
			const claim = client.sandboxes.claim("default", { config } as never);
			expect((await refusal(claim)).message).toBe(`${field}: is not supported by Gangway yet`);
		}
		const restored = await fake.post("/api/v1/sandboxes", { snapshot_id: "snap_1" });
		expect(restored.json().error.message).toBe("snapshot_id: is not supported by Gangway yet");
		expect((await fake.post("/api/v1/sandboxes", { mounts: [], config: { services: [] } })).statusCode).toBe(201);
		expect((await fake.post("/api/v1/sandboxes", { nonsense: 1 })).json().error.message).toBe(
			"nonsense: is not a known parameter",
		);
	});

	test("a wrong state is 409; what takes longer than calls are held, 504; an unknown fault, 500 without its words", async () => {
		const { id } = await client.sandboxes.claim("default");
		fake.devboxes.failNext = new ConflictError("devbox is provisioning");
		expect(await refusal(client.sandboxes.pause(id))).toMatchObject({ statusCode: 409, code: "conflict" });
		fake.devboxes.change(id, { status: "suspending" });
		fake.devboxes.suspend = async () => fake.devboxes.change(id, {});
		expect(await refusal(client.sandboxes.pause(id))).toMatchObject({ statusCode: 504, code: "unavailable" });
		fake.devboxes.failNext = new Error("a secret");
		const fault = await refusal(client.sandboxes.get(id));
		expect(fault).toMatchObject({ statusCode: 500, code: "internal_error" });
		expect(fault.message).toMatch(/^internal error \(request /);
	});

	test("a sandbox that fails to start is failed, one that takes long is starting", async () => {
		fake.devboxes.bootsTo = "failure";
		expect(await client.sandboxes.claim("default")).toMatchObject({ status: "failed" });
		fake.devboxes.bootsTo = undefined;
		expect(await client.sandboxes.claim("default")).toMatchObject({ status: "starting" });
	});
});
