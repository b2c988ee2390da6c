import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostOf, Names, plainAddress } from "./names.js";

const key = "abcdefghijklmnopqrstuvwx27";
const names = new Names({ domain: "Gangway.example.", apiHosts: ["box.corp"] });
const parse = (authority: string) => names.parse(authority);

describe("Names", () => {
	test.each([
		"gangway.example",
		"GANGWAY.Example:7443",
		"gangway.example.",
		"gangway.example.:80",
		"gangway.example:",
		"api.gangway.example",
		"localhost",
		"LOCALHOST:7080",
		"127.0.0.1",
		"127.0.0.1:7080",
		"192.0.2.7",
		"[::1]",
		"[::1]:7080",
		"[2001:DB8::1]",
		"box.corp",
		"Box.Corp:443",
	])("%s is the API", (authority) => {
		expect(parse(authority)).toEqual({ kind: "api" });
	});

	test("a tunnel name holds port and key", () => {
		expect(parse(`8080-${key}.tunnel.gangway.example:7443`)).toEqual({ kind: "tunnel", port: 8080, key });
		expect(parse(`65535-${key.toUpperCase()}.TUNNEL.gangway.example.`)).toEqual({ kind: "tunnel", port: 65535, key });
	});

	test.each([
		"tunnel.gangway.example",
		"x.tunnel.gangway.example",
		".tunnel.gangway.example",
		`0-${key}.tunnel.gangway.example`,
		`080-${key}.tunnel.gangway.example`,
		`65536-${key}.tunnel.gangway.example`,
		`99999-${key}.tunnel.gangway.example`,
		`80-${key}x.tunnel.gangway.example`,
		`80-${key.slice(1)}.tunnel.gangway.example`,
		`80-${key.slice(1)}1.tunnel.gangway.example`,
		`a.80-${key}.tunnel.gangway.example`,
		`80-${key}.a.tunnel.gangway.example`,
	])("%s is a wrong tunnel name", (authority) => {
		expect(parse(authority)).toEqual({ kind: "tunnel-invalid" });
	});

	test("ssh names", () => {
		expect(parse("DBX-abc.ssh.gangway.example")).toEqual({ kind: "ssh", label: "dbx-abc" });
		expect(parse("a.b_c.ssh.gangway.example")).toEqual({ kind: "ssh", label: "a.b_c" });
		expect(parse("ssh.gangway.example:443")).toEqual({ kind: "gateway" });
	});

	test.each([
		"",
		".",
		":",
		":80",
		"[",
		"[]",
		"[::1",
		"[::1]x",
		"[::1]:x",
		"[fe80::1%eth0]",
		"::1",
		"127.1",
		"2130706433",
		"localhost:99999",
		"localhost:80:80",
		"localhost..",
		"evil.example",
		"evilgangway.example",
		"www.gangway.example",
		"a.api.gangway.example",
		"user@gangway.example",
		"gangway.example/x",
		"gangway.example\u0000",
		"loo\u212a.example",
		"boo\u212a.example",
		`${"a.".repeat(200)}gangway.example`,
	])("%j is unknown", (authority) => {
		expect(parse(authority)).toEqual({ kind: "unknown" });
	});

	test.each(["evil.example/", "evil.example?", "evil.example#", "evil.example\\", "user@", '"><b>'])(
		"%s before a name of ours makes it nobody's, so that no redirect leads there",
		(delimited) => {
			expect(parse(`${delimited}.tunnel.gangway.example`)).toEqual({ kind: "unknown" });
			expect(hostOf(`${delimited}.tunnel.gangway.example`)).toBeUndefined();
		},
	);

	test("a name of the domain is not taken over by apiHosts", () => {
		const greedy = new Names({ domain: "d.example", apiHosts: ["tunnel.d.example", "a.ssh.d.example"] });
		expect(greedy.parse("tunnel.d.example")).toEqual({ kind: "tunnel-invalid" });
		expect(greedy.parse("a.ssh.d.example")).toEqual({ kind: "ssh", label: "a" });
	});

	test("what is remembered is what was said, however many names there are", () => {
		const host = (n: number) => `${n}-${key}.tunnel.gangway.example`;
		for (let round = 0; round < 2; round++) {
			for (let n = 1; n <= 1_500; n++) expect(parse(host(n))).toEqual({ kind: "tunnel", port: n, key });
		}
	});

	test("never throws and always answers with a kind", () => {
		const pieces = fc.constantFrom(
			"tunnel",
			"ssh",
			"api",
			"gangway",
			"example",
			".",
			"-",
			":",
			"[",
			"]",
			"80",
			key,
			"\u212a",
		);
		const soup = fc
			.array(fc.oneof(pieces, fc.string({ unit: "binary" })), { maxLength: 12 })
			.map((all) => all.join(""));
		fc.assert(fc.property(soup, (authority) => typeof parse(authority).kind === "string"));
	});

	test("round trip of tunnel names, whatever the case and port suffix", () => {
		const base32 = fc.string({
			unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz234567"),
			minLength: 26,
			maxLength: 26,
		});
		fc.assert(
			fc.property(
				base32,
				fc.integer({ min: 1, max: 65535 }),
				fc.boolean(),
				fc.constantFrom("", ".", ":443", ".:7443"),
				(k, port, up, tail) => {
					const authority = `${port}-${k}.tunnel.gangway.example${tail}`;
					expect(parse(up ? authority.toUpperCase() : authority)).toEqual({ kind: "tunnel", port, key: k });
				},
			),
		);
	});

	test("long input costs nothing", () => {
		const started = performance.now();
		for (const piece of ["a", "a.", "[", ":", "1-", "-.tunnel."]) parse(piece.repeat(1_000_000));
		expect(performance.now() - started).toBeLessThan(1000);
	});
});

test("hostOf keeps brackets and drops port and dot", () => {
	expect(hostOf("[::1]:80")).toBe("[::1]");
	expect(hostOf("A.b.:80")).toBe("a.b");
	expect(hostOf("a:b")).toBeUndefined();
});

test("plainAddress shows IPv4 peers of a dual-stack socket as IPv4", () => {
	expect(plainAddress("::ffff:192.0.2.1")).toBe("192.0.2.1");
	expect(plainAddress("::1")).toBe("::1");
	expect(plainAddress("::ffff:999.0.2.1")).toBe("::ffff:999.0.2.1");
	expect(plainAddress(undefined)).toBe("");
});
