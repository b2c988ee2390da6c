/** Who may pass an authenticated tunnel, as a program. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door } from "./support/door.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let open: Door;
let secured: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	[open, secured] = await Promise.all([
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open" } })),
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } })),
	]);
});
afterAll(() => daemon?.remove());

/** The headers that the app sees. */
async function headersOf(...args: string[]): Promise<Readonly<Record<string, string>>> {
	const answer = await curl(...args);
	expect(answer.status, answer.text).toBe(200);
	return JSON.parse(answer.text).headers;
}

const bearer = (name: string, token: string) => ["-H", `${name}: Bearer ${token}`];

test("X-Runloop-Tunnel-Authorization lets in and goes no further; the app's own Authorization does", async () => {
	const headers = await headersOf(
		...bearer("X-Runloop-Tunnel-Authorization", secured.token),
		...bearer("Authorization", "of-the-app"),
		secured.url(),
	);
	expect(headers.authorization).toBe("Bearer of-the-app");
	expect(headers).not.toHaveProperty("x-runloop-tunnel-authorization");
});

test("Authorization lets in and goes no further", async () => {
	const headers = await headersOf(...bearer("Authorization", secured.token), ...daemon.trust, secured.secureUrl());
	expect(headers).not.toHaveProperty("authorization");
});

test.each<[string, () => string[]]>([
	["no credential", () => []],
	["a wrong token", () => bearer("Authorization", "x".repeat(32))],
	["another scheme", () => ["-u", `user:${secured.token}`]],
	[
		"a wrong token where the right one does not decide",
		() => [...bearer("X-Runloop-Tunnel-Authorization", "wrong"), ...bearer("Authorization", secured.token)],
	],
])("401 for %s", async (_, args) => {
	const answer = await curl(...args(), secured.url());
	expect(answer.status).toBe(401);
	expect(answer.headers["www-authenticate"]).toMatch(/^Bearer /);
	expect(JSON.parse(answer.text).error.code).toBe("unauthorized");
});

test("X-Runloop-Host names it from under another host, and is not forwarded", async () => {
	const url = `http://localhost:${daemon.endpoints.http_port}/echo`;
	const named = ["-H", `X-Runloop-Host: ${secured.host()}`, "-H", "Host: app.example.com"];
	expect((await curl(...named, url)).status).toBe(401);
	const headers = await headersOf(...named, ...bearer("Authorization", secured.token), url);
	expect(headers.host).toBe("app.example.com");
	expect(headers).not.toHaveProperty("x-runloop-host");
});

test("X-Runloop-Host does not lead to an open one", async () => {
	const url = `http://localhost:${daemon.endpoints.http_port}/echo`;
	const answer = await curl("-H", `X-Runloop-Host: ${open.host()}`, "-H", "Host: app.example.com", url);
	expect(answer.status).not.toBe(200);
});

test("the same parameters again, given or left out, are the same tunnel", async () => {
	const { devboxes } = daemon.sdk().api;
	const again = await devboxes.enableTunnel(secured.id, { auth_mode: "authenticated", wake_on_http: null });
	expect([again.tunnel_key, again.auth_token]).toEqual([secured.key, secured.token]);
});

test("other parameters mean another token at the same URL, and the old one is void at once", async () => {
	const door = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } }));
	const { devboxes } = daemon.sdk().api;
	const changed = await devboxes.enableTunnel(door.id, { auth_mode: "authenticated", wake_on_http: true });
	expect(changed.tunnel_key).toBe(door.key);
	expect((await curl(...bearer("Authorization", door.token), door.url())).status).toBe(401);
	expect((await curl(...bearer("Authorization", changed.auth_token!), door.url())).status).toBe(200);
	await devboxes.removeTunnel(door.id);
	expect((await curl(...bearer("Authorization", changed.auth_token!), door.url())).status).toBe(404);
	await door.shutdown();
});
