import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApi, validKey } from "./fakes.fixture.js";

let ready: boolean | string = true;
let fake: Awaited<ReturnType<typeof fakeApi>>;
beforeEach(async () => {
	ready = true;
	fake = await fakeApi({ ready: () => ready });
});
afterEach(() => fake.api.close());

const ask = (url: string, headers: Record<string, string> = {}, remoteAddress = "203.0.113.9") =>
	fake.api.app.inject({ method: "GET", url, headers, remoteAddress });

test("/healthz says that the daemon lives, ready or not", async () => {
	ready = false;
	const response = await ask("/healthz");
	expect([response.statusCode, response.json()]).toEqual([200, { status: "ok" }]);
});

test("/readyz says why not", async () => {
	expect((await ask("/readyz")).json()).toEqual({ status: "ready" });
	ready = "the store is locked";
	const response = await ask("/readyz");
	expect([response.statusCode, response.json()]).toEqual([
		503,
		{ message: "not ready: the store is locked", code: "unavailable" },
	]);
	ready = false;
	expect((await ask("/readyz")).json().message).toBe("not ready");
});

describe("/metrics", () => {
	test.each(["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])("the peer %s needs no key", async (peer) => {
		await ask("/healthz");
		const response = await ask("/metrics", {}, peer);
		expect(response.statusCode).toBe(200);
		expect(response.body).toMatch(
			/gangway_api_request_duration_seconds_count\{method="GET",route="\/healthz",status="200"\} 1/,
		);
	});

	test.each(["203.0.113.9", "10.0.0.1", "::ffff:10.0.0.1", "::2", "1270.0.0.1"])(
		"the peer %s needs one",
		async (peer) => {
			expect((await ask("/metrics", {}, peer)).statusCode).toBe(401);
			expect((await ask("/metrics", { authorization: "Bearer no" }, peer)).statusCode).toBe(401);
			expect((await ask("/metrics", { authorization: `Bearer ${validKey}` }, peer)).statusCode).toBe(200);
		},
	);

	test.each(["x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host", "x-forwarded-proto"])(
		"a local proxy's requests (%s) are not local",
		async (header) => {
			expect((await ask("/metrics", { [header]: "127.0.0.1" }, "127.0.0.1")).statusCode).toBe(401);
		},
	);

	test("unknown routes and ids do not become labels", async () => {
		await ask("/nonsense/1");
		await fake.get("/v1/devboxes/dbx_5");
		const { body } = await ask("/metrics", {}, "127.0.0.1");
		expect(body).not.toContain("nonsense");
		expect(body).not.toContain("dbx_5");
		expect(body).toContain('route="/v1/devboxes/:id"');
	});
});

test("/ is JSON for programs and leads people to the documentation", async () => {
	expect((await ask("/")).json()).toMatchObject({
		name: "gangway",
		docs: "/docs",
		ssh_connect: "127.0.0.1:7443",
		ssh_gateway: "127.0.0.1:7022",
		ssh_gateway_host_keys: ["ssh-ed25519 AAAA"],
	});
	const browser = await ask("/", { accept: "text/html,*/*" });
	expect([browser.statusCode, browser.headers.location]).toEqual([302, "/docs"]);
});

describe("documentation", () => {
	test("/openapi.json describes every route of /v1, with errors, security and an example", async () => {
		const spec = (await ask("/openapi.json")).json();
		expect(spec.openapi).toBe("3.1.0");
		expect(
			Object.keys(spec.paths)
				.filter((path) => path.startsWith("/v1"))
				.sort(),
		).toEqual([
			"/v1/admin/teams",
			"/v1/admin/teams/{id}",
			"/v1/admin/teams/{id}/api_keys",
			"/v1/admin/teams/{id}/api_keys/{key_id}",
			"/v1/admin/teams/{id}/members",
			"/v1/admin/teams/{id}/members/{user_id}",
			"/v1/admin/users",
			"/v1/admin/users/{id}",
			"/v1/audit_events",
			"/v1/devboxes",
			"/v1/devboxes/create_and_await_running",
			"/v1/devboxes/{id}",
			"/v1/devboxes/{id}/create_ssh_key",
			"/v1/devboxes/{id}/enable_tunnel",
			"/v1/devboxes/{id}/keep_alive",
			"/v1/devboxes/{id}/logs",
			"/v1/devboxes/{id}/remove_tunnel",
			"/v1/devboxes/{id}/resume",
			"/v1/devboxes/{id}/rotate_ssh_key",
			"/v1/devboxes/{id}/shutdown",
			"/v1/devboxes/{id}/suspend",
			"/v1/devboxes/{id}/tunnel/share_links",
			"/v1/devboxes/{id}/tunnel/share_links/{link_id}",
			"/v1/devboxes/{id}/wait_for_status",
		]);
		expect(Object.keys(spec.paths)).toEqual(
			expect.arrayContaining(["/api/v1/sandboxes", "/api/v1/sandboxes/{id}/pause", "/users/me/ssh-keys"]),
		);
		expect(JSON.stringify(spec.paths["/users/me/ssh-keys"].post.responses["400"])).toContain("Sandbox0Error");
		const create = spec.paths["/v1/devboxes"].post;
		expect(create.security).toEqual([{ apiKey: [] }]);
		expect(create.requestBody.required).toBe(false);
		expect(JSON.stringify(create.requestBody)).toContain("node server.js");
		expect(JSON.stringify(create.requestBody)).toContain("host_header");
		const share = spec.paths["/v1/devboxes/{id}/tunnel/share_links"].post;
		expect(share.requestBody.required).toBe(true);
		expect(share.requestBody.content["application/json"].schema.properties.expires_in_seconds).toMatchObject({
			minimum: 60,
			maximum: 31_536_000,
		});
		expect(JSON.stringify(share.requestBody)).toContain("/report?week=7");
		expect(create.responses["200"].content["application/json"].schema).toEqual({ $ref: "#/components/schemas/Devbox" });
		expect(create.responses["400"].content["application/json"].schema).toEqual({ $ref: "#/components/schemas/Error" });
		expect(spec.components.securitySchemes.apiKey.scheme).toBe("bearer");
		for (const reference of JSON.stringify(spec).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
			expect(spec.components.schemas).toHaveProperty(reference[1] as string);
		}
	});

	test("/docs loads only what this server has, and nothing inline", async () => {
		const page = await ask("/docs");
		expect(page.headers["content-security-policy"]).toContain("default-src 'none'; script-src 'self'");
		expect(page.body).not.toMatch(/<script(?![^>]*\ssrc=)|<style|https?:\/\//);
		const assets = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] as string);
		expect(assets.length).toBeGreaterThan(4);
		for (const asset of [...assets, "/docs/json"]) expect((await ask(asset)).statusCode).toBe(200);
	});

	test("files beside the assets are not served", async () => {
		for (const path of ["/docs/static/../package.json", "/docs/static/%2e%2e/package.json", "/docs/static/none.js"]) {
			const response = await ask(path);
			expect(response.statusCode).toBeGreaterThanOrEqual(400);
			expect(response.json()).toHaveProperty("message");
		}
	});
});

test("two APIs do not share metrics", async () => {
	const metrics = new Registry();
	const other = await fakeApi({ metrics });
	await other.api.close();
	expect(await metrics.metrics()).toContain("gangway_api_request_duration_seconds");
});
