import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Passes } from "../devboxes/index.js";
import { authenticate, sameSecret } from "./authenticate.js";
import { passes, request, route, target, visit } from "./tunnel.fixture.js";

const now = 1_000_000;
const link = { port: 3000, expiresAtMs: now + 60_000 };
const secret = target({
	authMode: "authenticated",
	token: "s3cret",
	shareLinks: new Map([
		["shl_a", link],
		["shl_late", { ...link, expiresAtMs: now }],
		["shl_8080", { ...link, port: 8080 }],
	]),
});

const ask = (headers: Record<string, string>, found = secret, change: Parameters<typeof request>[0] = {}) =>
	authenticate(visit(found, request({ ...change, headers })), { passes, route, now: () => now });

const good = { tunnelKey: "keya", generation: 1, port: 3000, shareLinkId: null, expiresAtMs: now + 1 };
const cookieOf = (change: Partial<Parameters<Passes["sign"]>[1]> = {}) =>
	`__Host-gangway=${passes.sign("cookie", { ...good, ...change })}`;
const own = "x-runloop-tunnel-authorization";

describe("an authenticated tunnel", () => {
	test.each<[string, Record<string, string>, readonly string[] | "refused"]>([
		["no credential", {}, "refused"],
		["the token in Authorization", { authorization: "Bearer s3cret" }, ["authorization"]],
		["the scheme in another case", { authorization: "bEARER s3cret" }, ["authorization"]],
		["a wrong token", { authorization: "Bearer s3cres" }, "refused"],
		["a prefix of the token", { authorization: "Bearer s3cre" }, "refused"],
		["more than the token", { authorization: "Bearer s3cretx" }, "refused"],
		["an empty token", { authorization: "Bearer " }, "refused"],
		["the token without a scheme", { authorization: "s3cret" }, "refused"],
		["the token under another scheme", { authorization: "Basic s3cret" }, "refused"],
		["two Authorization fields", { authorization: "Bearer s3cret, Bearer other" }, "refused"],
		["the token in Gangway's field", { "x-runloop-tunnel-authorization": "Bearer s3cret" }, []],
		[
			"the token in Gangway's field and the app's own Authorization, which passes",
			{ "x-runloop-tunnel-authorization": "Bearer s3cret", authorization: "Bearer app" },
			[],
		],
		[
			"the token in both fields: the box sees neither",
			{ "x-runloop-tunnel-authorization": "Bearer s3cret", authorization: "Bearer s3cret" },
			["authorization"],
		],
		[
			"a wrong token in Gangway's field, which decides",
			{ "x-runloop-tunnel-authorization": "Bearer no", authorization: "Bearer s3cret" },
			"refused",
		],
		[
			"an empty Gangway field, which decides",
			{ "x-runloop-tunnel-authorization": "", authorization: "Bearer s3cret" },
			"refused",
		],
	])("%s", (_name, headers, outcome) => {
		const result = ask(headers);
		if (outcome === "refused") expect(result).toEqual({ ok: false, foreignPage: false });
		else expect(result).toEqual({ ok: true, remove: [own, ...outcome], set: [], grant: undefined });
	});

	test.each([null, ""])("without a stored token (%j) lets nobody in", (token) => {
		const broken = target({ authMode: "authenticated", token });
		for (const authorization of ["Bearer ", "Bearer null", "Bearer undefined", "Bearer x"]) {
			expect(ask({ authorization }, broken).ok).toBe(false);
			expect(ask({ [own]: authorization }, broken).ok).toBe(false);
		}
		expect(ask({ cookie: cookieOf() }, broken).ok).toBe(false);
	});
});

describe("the cookie of a signed-in browser", () => {
	test("lets in, and never reaches the box", () => {
		expect(ask({ cookie: `a=1; ${cookieOf()}; b=2` })).toEqual({
			ok: true,
			remove: [own],
			set: [["cookie", "a=1; b=2"]],
			grant: undefined,
		});
		expect(ask({ cookie: cookieOf() })).toMatchObject({ remove: [own, "cookie"], set: [] });
	});

	test("of a share link lets in, and says which", () => {
		expect(ask({ cookie: cookieOf({ shareLinkId: "shl_a" }) })).toMatchObject({ ok: true, grant: "shl_a" });
	});

	test.each<[string, string]>([
		["for another port", cookieOf({ port: 8080 })],
		["for another tunnel", cookieOf({ tunnelKey: "keyb" })],
		["from before the token was rotated", cookieOf({ generation: 0 })],
		["from a later generation", cookieOf({ generation: 2 })],
		["that has expired", cookieOf({ expiresAtMs: now })],
		["of a link that was revoked", cookieOf({ shareLinkId: "shl_gone" })],
		["of a link that has expired before it", cookieOf({ shareLinkId: "shl_late" })],
		["of a link for another port", cookieOf({ shareLinkId: "shl_8080" })],
		["of another daemon", `__Host-gangway=${new Passes(Buffer.alloc(32)).sign("cookie", good)}`],
		["that is a share link's pass", `__Host-gangway=${passes.sign("link", { ...good, shareLinkId: "shl_a" })}`],
		["in quotes", cookieOf().replace("=", '="').concat('"')],
		["under another name", cookieOf().replace("gangway", "gangway2")],
		["under its name in another case", cookieOf().toLowerCase()],
		["that is empty", "__Host-gangway="],
		["that is the token", "__Host-gangway=s3cret"],
	])("does not let in %s", (_name, cookie) => {
		expect(ask({ cookie })).toEqual({ ok: false, foreignPage: false });
	});

	test("that is no good is as none: Authorization decides, and the box sees neither", () => {
		const cookie = `a=1; ${cookieOf({ port: 8080 })}`;
		expect(ask({ cookie, authorization: "Bearer s3cret" })).toMatchObject({
			remove: [own, "authorization"],
			set: [["cookie", "a=1"]],
		});
	});

	test("is found beside another of its name", () => {
		expect(ask({ cookie: `__Host-gangway=planted; ${cookieOf()}` }).ok).toBe(true);
	});

	test("goes before Authorization, which is then the app's", () => {
		const result = ask({ cookie: cookieOf(), authorization: "Bearer app" });
		expect(result).toMatchObject({ ok: true, remove: [own, "cookie"] });
	});

	test("and the token beside it: the box sees neither", () => {
		const result = ask({ cookie: cookieOf(), authorization: "Bearer s3cret" });
		expect(result).toMatchObject({ ok: true, remove: [own, "authorization", "cookie"] });
	});

	test("does not help a wrong token in Gangway's field, which decides", () => {
		expect(ask({ cookie: cookieOf(), [own]: "Bearer no" })).toEqual({ ok: false, foreignPage: false });
	});

	test.each<[string, Parameters<typeof request>[0]]>([
		["to change something", { method: "POST" }],
		["to open a WebSocket", { upgrade: true }],
	])("is not enough %s from nobody knows which page", (_what, change) => {
		expect(ask({ cookie: cookieOf() }, secret, change)).toEqual({ ok: false, foreignPage: true });
		expect(ask({ cookie: cookieOf(), origin: "https://3000-keyb.tunnel.test" }, secret, change).ok).toBe(false);
		expect(ask({ cookie: cookieOf(), origin: "https://3000-keya.tunnel.test" }, secret, change).ok).toBe(true);
	});

	test("is not needed by who sends the token in a field: such requests need no origin", () => {
		const change = { method: "POST" };
		for (const name of ["authorization", own]) {
			expect(ask({ [name]: "Bearer s3cret" }, secret, change).ok).toBe(true);
			expect(ask({ [name]: "Bearer s3cret", cookie: cookieOf() }, secret, change)).toMatchObject({ ok: true });
		}
	});
});

test("whatever the credentials, the first that counts decides, and the box sees none", () => {
	const field = fc.constantFrom(undefined, "Bearer s3cret", "Bearer no", "Basic app");
	const crumb = fc.constantFrom("a=1", cookieOf(), cookieOf({ port: 8080 }), 'b="x', "__Host-gangway", 'c=y"');
	fc.assert(
		fc.property(field, field, fc.array(crumb, { maxLength: 4 }), (gangway, authorization, crumbs) => {
			const given = { [own]: gangway, authorization, cookie: crumbs.join("; ") || undefined };
			const headers = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
			const result = ask(headers as Record<string, string>);
			const byCookie = crumbs.includes(cookieOf());
			const first = gangway ?? (byCookie ? "Bearer s3cret" : authorization);
			expect(result.ok).toBe(first === "Bearer s3cret");
			if (!result.ok) return;
			for (const name of result.remove) delete headers[name];
			const seen = JSON.stringify({ ...headers, ...Object.fromEntries(result.set) });
			expect(seen).not.toMatch(/s3cret|gangway/);
			if (authorization?.startsWith("Basic")) expect(seen).toContain("Basic app");
			for (const own of ["a=1", 'b=\\"x', 'c=y\\"']) {
				if (crumbs.includes(JSON.parse(`"${own}"`))) expect(seen).toContain(own);
			}
		}),
		{ numRuns: 1_000 },
	);
});

test("an open tunnel keeps the app's Authorization and takes out Gangway's field", () => {
	const headers = { authorization: "Bearer app", "x-runloop-tunnel-authorization": "Bearer stale" };
	expect(ask(headers, target())).toEqual({ ok: true, remove: [own], set: [], grant: undefined });
});

test("an open tunnel does not give its app the cookie from when it was private", () => {
	expect(ask({ cookie: `a=1; ${cookieOf()}` }, target())).toMatchObject({ remove: [own], set: [["cookie", "a=1"]] });
	expect(ask({ cookie: cookieOf() }, target())).toMatchObject({ remove: [own, "cookie"], set: [] });
});

test("sameSecret is equality, for strings of any length", () => {
	const text = fc.string({ unit: "binary" });
	fc.assert(fc.property(text, (a) => sameSecret(a, a)));
	fc.assert(fc.property(text, text, (a, b) => sameSecret(a, b) === Buffer.from(a).equals(Buffer.from(b))));
});
