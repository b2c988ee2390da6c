import { describe, expect, test } from "vitest";
import { createDecide } from "./decide.js";
import type { LocalResponse } from "./decision.js";
import { FakeDirectory, headerOf, passes, request, route, target } from "./tunnel.fixture.js";

const ui = "https://3000-keya.tunnel.test";
const api = { authority: "8080-keya.tunnel.test" };
const asleep = { status: "suspended", address: null, wakes: true } as const;

function setup(change: Parameters<typeof target>[0] = {}) {
	const directory = new FakeDirectory(
		target({ authMode: "authenticated", token: "s3cret", corsOrigins: ["https://app.example"], ...change }),
	);
	const decide = createDecide({ directory, route, passes, requestId: () => "req-1" });
	const local = async (info: Parameters<typeof request>[0]) => (await decide(request(info))) as LocalResponse;
	const ask = (origin: string, headers: Record<string, string> = {}, method = "OPTIONS") =>
		local({ ...api, method, headers: { origin, "access-control-request-method": "PUT", ...headers } });
	return { directory, local, ask };
}

describe("a preflight to an authenticated tunnel", () => {
	test.each([ui, "https://8080-keya.tunnel.test", "https://app.example"])(
		"from %s is answered, though nobody has shown a credential",
		async (origin) => {
			const response = await setup().ask(origin, { "access-control-request-headers": "content-type, authorization" });
			expect(response).toEqual({
				kind: "respond",
				requestId: "req-1",
				status: 204,
				headers: [
					["access-control-allow-origin", origin],
					["access-control-allow-credentials", "true"],
					["access-control-allow-methods", "PUT"],
					["access-control-allow-headers", "content-type, authorization"],
					["access-control-max-age", "600"],
					["vary", "origin, access-control-request-method, access-control-request-headers"],
					["x-runloop-request-id", "req-1"],
				],
				body: "",
			});
		},
	);

	test("wakes nothing and keeps nothing awake", async () => {
		const { ask, directory } = setup(asleep);
		expect((await ask(ui)).status).toBe(204);
		expect(directory).toMatchObject({ woken: [], active: [] });
	});

	test.each(["https://3000-keyb.tunnel.test", "https://evil.example", "null", "https://tunnel.test"])(
		"from %s is a request like any other: 401, which its page may not read",
		async (origin) => {
			const response = await setup().ask(origin);
			expect(response.status).toBe(401);
			expect(headerOf(response, "access-control-allow-origin")).toBeUndefined();
		},
	);

	test("may ask for a private network", async () => {
		const response = await setup().ask(ui, { "access-control-request-private-network": "true" });
		expect(headerOf(response, "access-control-allow-private-network")).toBe("true");
	});

	test.each(["PUT, DELETE", "PU T", "", "PUT\r\nx: y"])("for the method %j is none", async (method) => {
		expect((await setup().ask(ui, { "access-control-request-method": method })).status).toBe(401);
	});

	test.each(["x y", "x,,y", "x: y", "x\r\ny", "x\0", '"x"'])("does not repeat %j as field names", async (names) => {
		const response = await setup().ask(ui, { "access-control-request-headers": names });
		expect(response.status).toBe(204);
		expect(headerOf(response, "access-control-allow-headers")).toBeUndefined();
	});

	test("that tries to be a GET, or names no method, is none", async () => {
		expect((await setup().ask(ui, {}, "GET")).status).toBe(401);
		const plain = await setup().local({ ...api, method: "OPTIONS", headers: { origin: ui } });
		expect(plain.status).toBe(401);
	});
});

test("a preflight to an open tunnel is the app's", async () => {
	const response: { kind: string } = await setup({ authMode: "open", token: null }).ask(ui);
	expect(response.kind).toBe("proxy");
});

describe("an error of ours", () => {
	test("can be read by a page that may use the tunnel", async () => {
		const response = await setup().local({ ...api, headers: { origin: ui } });
		expect(response.status).toBe(401);
		expect(Object.fromEntries(response.headers)).toMatchObject({
			"access-control-allow-origin": ui,
			"access-control-allow-credentials": "true",
			"access-control-expose-headers": "retry-after, www-authenticate, x-runloop-request-id",
			vary: "origin",
		});
	});

	test("also when the box is asleep", async () => {
		const response = await setup(asleep).local({ ...api, headers: { origin: ui, authorization: "Bearer s3cret" } });
		expect(response.status).toBe(503);
		expect(headerOf(response, "access-control-allow-origin")).toBe(ui);
	});

	test("cannot be read by others", async () => {
		const response = await setup().local({ ...api, headers: { origin: "https://3000-keyb.tunnel.test" } });
		expect(response.headers.map(([name]) => name).filter((name) => name.startsWith("access-control"))).toEqual([]);
	});
});
