import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Pass, Passes } from "./passes.js";

const passes = new Passes(Buffer.alloc(32, 7));
const pass: Pass = {
	tunnelKey: "abcdefghijklmnopqrstuvwxyz",
	generation: 3,
	port: 3000,
	shareLinkId: "shl_abcdefghijklmnopqrstuvwxyz",
	expiresAtMs: 1_800_000_000_000,
};
const signed = passes.sign("cookie", pass);

test("reads what it signed", () => {
	const anyPass = fc.record({
		tunnelKey: fc.string({ maxLength: 26 }),
		generation: fc.nat(),
		port: fc.nat(65_535),
		shareLinkId: fc.option(fc.string({ maxLength: 30 })),
		expiresAtMs: fc.nat(),
	});
	fc.assert(
		fc.property(anyPass, fc.constantFrom("cookie" as const, "link" as const), (any, use) => {
			expect(passes.verify(use, passes.sign(use, any))).toEqual(any);
		}),
	);
});

test("writes what a cookie and a query hold as it is", () => {
	expect(signed).toMatch(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$/);
	expect(signed.length).toBeLessThan(256);
});

describe("is no pass:", () => {
	test("one of another use", () => {
		expect(passes.verify("link", signed)).toBeUndefined();
		expect(passes.verify("cookie", passes.sign("link", pass))).toBeUndefined();
	});

	test("one of another key", () => {
		expect(new Passes(Buffer.alloc(32, 8)).verify("cookie", signed)).toBeUndefined();
	});

	test("one with any character changed", () => {
		for (let at = 0; at < signed.length; at++) {
			const changed = signed.slice(0, at) + (signed[at] === "A" ? "B" : "A") + signed.slice(at + 1);
			expect(passes.verify("cookie", changed), `character ${at}`).toBeUndefined();
		}
	});

	test("one cut off anywhere, at either end", () => {
		for (let length = 0; length < signed.length; length++) {
			expect(passes.verify("cookie", signed.slice(0, length))).toBeUndefined();
			expect(passes.verify("cookie", signed.slice(signed.length - length))).toBeUndefined();
		}
	});

	test("the payload of one with the code of another", () => {
		const [, mac] = signed.split(".");
		const [payload] = passes.sign("cookie", { ...pass, port: 8080 }).split(".");
		expect(passes.verify("cookie", `${payload}.${mac}`)).toBeUndefined();
	});

	test.each(["=", " ", "!", ".", ".x", "\n", "\0"])(
		"one with %j added, though it decodes to the same bytes",
		(more) => {
			expect(passes.verify("cookie", signed + more)).toBeUndefined();
			expect(passes.verify("cookie", more + signed)).toBeUndefined();
		},
	);

	test("the same bytes in the other base64", () => {
		const withBoth = Array.from({ length: 100 }, (_, port) => passes.sign("cookie", { ...pass, port })).find((text) =>
			/[-_]/.test(text.split(".")[1]!),
		)!;
		const other = withBoth.replaceAll("-", "+").replaceAll("_", "/");
		expect(passes.verify("cookie", other)).toBeUndefined();
	});

	test("junk", () => {
		fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => passes.verify("cookie", text) === undefined));
		for (const text of ["", ".", "..", "a.b", "null", "bnVsbA.", `.${signed}`]) {
			expect(passes.verify("cookie", text)).toBeUndefined();
		}
	});

	test("anything longer than a pass can be, even signed", () => {
		const long = passes.sign("cookie", { ...pass, tunnelKey: "k".repeat(512) });
		expect(passes.verify("cookie", long)).toBeUndefined();
	});
});
