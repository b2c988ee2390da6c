import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { authenticate, sameSecret } from "./authenticate.js";
import { request, target } from "./tunnel.fixture.js";

const secret = target({ authMode: "authenticated", token: "s3cret" });

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
		const result = authenticate(secret, request({ headers }));
		if (outcome === "refused") expect(result).toEqual({ ok: false });
		else expect(result).toEqual({ ok: true, remove: ["x-runloop-tunnel-authorization", ...outcome] });
	});

	test.each([null, ""])("without a stored token (%j) lets nobody in", (token) => {
		const broken = target({ authMode: "authenticated", token });
		for (const authorization of ["Bearer ", "Bearer null", "Bearer undefined", "Bearer x"]) {
			expect(authenticate(broken, request({ headers: { authorization } }))).toEqual({ ok: false });
		}
	});
});

test("an open tunnel keeps the app's Authorization and takes out Gangway's field", () => {
	const headers = { authorization: "Bearer app", "x-runloop-tunnel-authorization": "Bearer stale" };
	expect(authenticate(target(), request({ headers }))).toEqual({
		ok: true,
		remove: ["x-runloop-tunnel-authorization"],
	});
});

test("sameSecret is equality, for strings of any length", () => {
	const text = fc.string({ unit: "binary" });
	fc.assert(fc.property(text, (a) => sameSecret(a, a)));
	fc.assert(fc.property(text, text, (a, b) => sameSecret(a, b) === Buffer.from(a).equals(Buffer.from(b))));
});
