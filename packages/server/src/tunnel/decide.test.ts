import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TunnelTarget } from "../devboxes/index.js";
import { createDecide, type DecideOptions } from "./decide.js";
import type { LocalResponse, ProxyDecision, RequestInfo, UpstreamFailure } from "./decision.js";
import { FakeDirectory, headerOf, passes, request, route, target } from "./tunnel.fixture.js";

const sealed = (change: Partial<TunnelTarget> = {}) =>
	target({ authMode: "authenticated", token: "s3cret", ...change });
const bearer = { authorization: "Bearer s3cret" };

function setup(targets: readonly TunnelTarget[], options: Partial<DecideOptions> = {}) {
	const directory = new FakeDirectory(...targets);
	const decide = createDecide({ directory, route, passes, now: () => 1_000_000, requestId: () => "req-1", ...options });
	return {
		directory,
		local: async (info: RequestInfo) => (await decide(info)) as LocalResponse,
		proxy: async (info: RequestInfo) => (await decide(info)) as ProxyDecision,
	};
}

describe("route", () => {
	test("a name with port and key leads to that port of that box", async () => {
		const { proxy } = setup([target()]);
		expect(await proxy(request())).toMatchObject({ kind: "proxy", devboxId: "dbx_a", address: "10.0.0.2", port: 3000 });
	});

	test.each(["3000-unknown.tunnel.test", "tunnel.test", "", "3000-keya.tunnel.test.evil.example"])(
		"%j is 404",
		async (authority) => {
			const { local } = setup([target()]);
			expect((await local(request({ authority }))).status).toBe(404);
		},
	);

	test.each([0, 65_536, -1, 1.5, Number.NaN])("a parser that returns port %d is not believed", async (port) => {
		const { local } = setup([target()], { route: () => ({ port, key: "keya" }) });
		expect((await local(request())).status).toBe(404);
	});

	test.each(["Forwarded", "X-Forwarded-Host"])("%s does not route and passes as it is", async (name) => {
		const { proxy } = setup([target(), target({ key: "keyb", devboxId: "dbx_b" })]);
		const value = name === "Forwarded" ? "host=80-keyb.tunnel.test" : "80-keyb.tunnel.test";
		const decision = await proxy(request({ headers: { [name.toLowerCase()]: value } }));
		expect(decision.devboxId).toBe("dbx_a");
		expect([...decision.remove, ...decision.set.map(([set]) => set)]).not.toContain(name.toLowerCase());
	});

	test.each(["failure", "shutdown"])("a box in %s has no tunnel any more", async (status) => {
		const { local } = setup([target({ status, address: null })]);
		expect((await local(request())).status).toBe(404);
	});
});

describe("X-Runloop-Host", () => {
	const targets = [sealed(), target({ key: "keyb", devboxId: "dbx_b", address: "10.0.0.3" })];
	const at = (named: string, authority: string, more = {}) =>
		request({ authority, headers: { "x-runloop-host": named, ...more } });

	test("routes to an authenticated tunnel and is stripped", async () => {
		const { proxy } = setup(targets);
		const decision = await proxy(at("3000-keya.tunnel.test", "preview.customer.example", bearer));
		expect(decision).toMatchObject({ devboxId: "dbx_a", port: 3000 });
		expect(decision.remove).toContain("x-runloop-host");
		expect([...decision.remove, ...decision.set.map(([name]) => name)]).not.toContain("host");
	});

	test("goes before Host", async () => {
		const { proxy } = setup(targets);
		const decision = await proxy(at("3000-keya.tunnel.test", "80-keyb.tunnel.test", bearer));
		expect(decision.devboxId).toBe("dbx_a");
	});

	test("without the token is 401, whatever Host says", async () => {
		const { local } = setup(targets);
		expect((await local(at("3000-keya.tunnel.test", "80-keyb.tunnel.test"))).status).toBe(401);
	});

	test("does not route to an open tunnel", async () => {
		const { local } = setup(targets);
		expect((await local(at("80-keyb.tunnel.test", "preview.customer.example"))).status).toBe(404);
	});

	test.each(["80-keyb.tunnel.test", "nonsense", "3000-keya.tunnel.test, 3000-keya.tunnel.test"])(
		"%j is ignored, and passed to the app that Host names",
		async (named) => {
			const { proxy } = setup(targets);
			const decision = await proxy(at(named, "80-keyb.tunnel.test"));
			expect(decision.devboxId).toBe("dbx_b");
			expect(decision.remove).not.toContain("x-runloop-host");
		},
	);
});

describe("authenticate comes before everything but routing", () => {
	const states: readonly Partial<TunnelTarget>[] = [
		{},
		{ status: "suspended", address: null, wakes: true },
		{ status: "suspended", address: null },
		{ status: "resuming", address: null },
	];

	test.each(states)("a stranger gets 401 from a box that is %j, and nothing else happens", async (state) => {
		const { local, directory } = setup([sealed(state)]);
		const response = await local(request());
		expect(response.status).toBe(401);
		expect(headerOf(response, "www-authenticate")).toBe('Bearer realm="gangway"');
		expect(directory).toMatchObject({ woken: [], active: [] });
	});

	test("a stranger does not learn that port 22 is special", async () => {
		const { local } = setup([sealed()]);
		expect((await local(request({ authority: "22-keya.tunnel.test" }))).status).toBe(401);
	});

	test("the credential that was used is not forwarded", async () => {
		const { proxy } = setup([sealed()]);
		expect((await proxy(request({ headers: bearer }))).remove).toContain("authorization");
	});
});

test("the box's sshd is no tunnel's business, and asking for it wakes nothing", async () => {
	const { local, directory } = setup([target({ status: "suspended", address: null, wakes: true })]);
	const response = await local(request({ authority: "22-keya.tunnel.test" }));
	expect(response.status).toBe(403);
	expect(response.body).toContain("SSH");
	expect(directory.woken).toEqual([]);
});

describe("wake", () => {
	const asleep = { status: "suspended", address: null };

	test("a request to a suspended box resumes it", async () => {
		const { local, directory } = setup([target({ ...asleep, wakes: true })]);
		const response = await local(request());
		expect(response.status).toBe(503);
		expect(headerOf(response, "retry-after")).toBe("5");
		expect(directory.woken).toEqual(["dbx_a"]);
	});

	test("so does one with the token, to a private tunnel", async () => {
		const { local, directory } = setup([sealed({ ...asleep, wakes: true })]);
		expect((await local(request({ headers: bearer }))).status).toBe(503);
		expect(directory.woken).toEqual(["dbx_a"]);
	});

	test("waking is not activity", async () => {
		const { local, directory } = setup([target({ ...asleep, wakes: true })]);
		await local(request());
		expect(directory.active).toEqual([]);
	});

	test("without a trigger the box sleeps on, and the answer says so", async () => {
		const { local, directory } = setup([target(asleep)]);
		const response = await local(request());
		expect(response.status).toBe(503);
		expect(headerOf(response, "retry-after")).toBeUndefined();
		expect(response.body).toContain("suspended");
		expect(directory.woken).toEqual([]);
	});

	test.each(["provisioning", "initializing", "resuming"])("%s is 503 with Retry-After", async (status) => {
		const { local, directory } = setup([target({ status, address: null })]);
		const response = await local(request());
		expect(response.status).toBe(503);
		expect(headerOf(response, "retry-after")).toBe("5");
		expect(directory.woken).toEqual([]);
	});

	test("a box that is about to sleep asks for another try, which will wake it", async () => {
		const { local, directory } = setup([target({ status: "suspending", wakes: true })]);
		expect(headerOf(await local(request()), "retry-after")).toBe("5");
		expect(directory.woken).toEqual([]);
	});

	test("running without an address is still starting", async () => {
		const { local } = setup([target({ address: null })]);
		expect((await local(request())).status).toBe(503);
	});
});

describe("proxy", () => {
	test("gives each request an id that replaces the client's", async () => {
		const { proxy } = setup([target()], {});
		const decision = await proxy(request({ headers: { "x-runloop-request-id": "mine" } }));
		expect(decision.requestId).toBe("req-1");
		expect(decision.set).toContainEqual(["x-runloop-request-id", "req-1"]);
	});

	test("makes a fresh id each time by default", async () => {
		const decide = createDecide({ directory: new FakeDirectory(target()), route, passes });
		const ids = new Set<string>();
		for (let i = 0; i < 100; i++) ids.add(((await decide(request())) as ProxyDecision).requestId);
		expect(ids.size).toBe(100);
	});

	test("traffic is activity when the tunnel says so", async () => {
		const { proxy, directory } = setup([target()]);
		const decision = await proxy(request());
		expect(directory.active).toEqual([]);
		decision.activity?.();
		expect(directory.active).toEqual(["dbx_a"]);
	});

	test("and is not when it does not", async () => {
		const { proxy } = setup([target({ httpKeepAlive: false })]);
		expect((await proxy(request())).activity).toBeUndefined();
	});
});

describe("a port whose rule is host_header: localhost", () => {
	const rules = { portRules: new Map([[3000, { hostHeader: "localhost" as const }]]) };

	test("sees that name, and the one that was asked for beside it", async () => {
		const { proxy } = setup([target(rules)]);
		const { set } = await proxy(request());
		expect(set).toContainEqual(["host", "localhost:3000"]);
		expect(set).toContainEqual(["x-forwarded-host", "3000-keya.tunnel.test"]);
	});

	test("keeps what a proxy has told about the name", async () => {
		const { proxy } = setup([target(rules)]);
		const { set } = await proxy(request({ headers: { "x-forwarded-host": "preview.customer.example" } }));
		expect(set.map(([name]) => name)).not.toContain("x-forwarded-host");
	});

	test("is a rule for that port alone", async () => {
		const { proxy } = setup([target(rules)]);
		const { set } = await proxy(request({ authority: "3001-keya.tunnel.test" }));
		expect(set.map(([name]) => name)).not.toContain("host");
	});
});

test("what is said later does not depend on the request's fields, which are another request's by then", async () => {
	const headers: Record<string, string> = { accept: "text/html", origin: "https://8080-keya.tunnel.test" };
	const { proxy } = setup([target()]);
	const decision = await proxy(request({ headers }));
	headers.accept = "application/json";
	headers.origin = "https://evil.example";
	const response = decision.failed("closed");
	expect(headerOf(response, "content-type")).toContain("text/html");
	expect(headerOf(response, "access-control-allow-origin")).toBe("https://8080-keya.tunnel.test");
});

test("only the app of an authenticated tunnel is kept from setting Gangway's cookie", async () => {
	const { proxy } = setup([sealed(), target({ key: "keyb" })]);
	expect((await proxy(request({ headers: bearer }))).guardedCookie).toBe("__Host-gangway");
	expect((await proxy(request({ authority: "3000-keyb.tunnel.test" }))).guardedCookie).toBeUndefined();
});

describe("failures", () => {
	const long = { runningSinceMs: 1_000_000 - 30_000 };
	const fresh = { runningSinceMs: 1_000_000 - 29_999 };

	test.each<[UpstreamFailure, Partial<TunnelTarget>, number, boolean]>([
		["refused", long, 502, false],
		["refused", fresh, 503, true],
		["refused", { runningSinceMs: null }, 502, false],
		["unreachable", long, 502, false],
		["unreachable", fresh, 503, true],
		["connect_timeout", long, 504, false],
		["connect_timeout", fresh, 503, true],
		["response_timeout", fresh, 504, false],
		["bad_response", fresh, 502, false],
		["closed", fresh, 502, false],
	])("%s with %j is %d", async (failure, state, status, retry) => {
		const { proxy } = setup([target(state)]);
		const response = (await proxy(request())).failed(failure);
		expect(response.status).toBe(status);
		expect(headerOf(response, "retry-after")).toBe(retry ? "5" : undefined);
		expect(headerOf(response, "x-runloop-request-id")).toBe("req-1");
	});

	test("nothing listening names the port and the 0.0.0.0 rule", async () => {
		const { proxy } = setup([target(long)]);
		const { body } = (await proxy(request())).failed("refused");
		expect(body).toContain("port 3000");
		expect(body).toContain("0.0.0.0");
	});
});

test("no request, whatever it says, goes to an address that is not its box's", async () => {
	const boxes = [
		target({ key: "keya", devboxId: "dbx_a", address: "10.0.0.2" }),
		sealed({ key: "keyb", devboxId: "dbx_b", address: "10.0.0.3" }),
	];
	const { proxy } = setup(boxes, { trustedProxies: ["0.0.0.0/0"] });
	const name = fc.oneof(
		fc.constantFrom(
			"80-keya.tunnel.test",
			"80-keyb.tunnel.test:443",
			"22-keya.tunnel.test",
			"127.0.0.1",
			"localhost:22",
		),
		fc
			.tuple(fc.nat(70_000), fc.constantFrom("keya", "keyb", "keyc"))
			.map(([port, key]) => `${port}-${key}.tunnel.test`),
		fc.string(),
	);
	const header = fc.constantFrom(
		"x-runloop-host",
		"x-forwarded-host",
		"x-forwarded-for",
		"forwarded",
		"x-real-ip",
		"authorization",
		"x-runloop-tunnel-authorization",
	);
	const value = fc.oneof(name, fc.constantFrom("Bearer s3cret", "host=127.0.0.1", "169.254.169.254"));
	await fc.assert(
		fc.asyncProperty(name, fc.webPath(), fc.dictionary(header, value), async (authority, path, headers) => {
			const decision = await proxy(request({ authority, target: path, headers }));
			if (decision.kind !== "proxy") return;
			const box = boxes.find(({ devboxId }) => devboxId === decision.devboxId)!;
			expect(decision.address).toBe(box.address);
			expect(decision.port).not.toBe(22);
			const named = [authority, headers["x-runloop-host"] ?? ""];
			expect(named.some((text) => text.startsWith(`${decision.port}-${box.key}.`))).toBe(true);
		}),
		{ numRuns: 500 },
	);
});
