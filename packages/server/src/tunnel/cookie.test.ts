import { expect, test } from "vitest";
import { clearCookie, setCookie, takeCookie } from "./cookie.js";

test.each<[string, readonly string[], string]>([
	["__Host-gangway=p", ["p"], ""],
	["a=1; __Host-gangway=p; b=2", ["p"], "a=1; b=2"],
	["a=1;__Host-gangway=p;b=2", ["p"], "a=1; b=2"],
	["__Host-gangway=p; a=1", ["p"], "a=1"],
	["a=1; __Host-gangway=p", ["p"], "a=1"],
	["__Host-gangway=p; __Host-gangway=q", ["p", "q"], ""],
	[" __Host-gangway = p ; a=1", ["p"], "a=1"],
	["\t__Host-gangway=p", ["p"], ""],
	["__Host-gangway=p=q", ["p=q"], ""],
	["__Host-gangway=", [""], ""],
	["__Host-gangway; a=1", [], "a=1"],
	['__Host-gangway="p"', ['"p"'], ""],
	["a=x__Host-gangway; __Host-gangway=p", ["p"], "a=x__Host-gangway"],
	["__Host-gangway2=x; __Host-gangway=p", ["p"], "__Host-gangway2=x"],
])("%j has %j in it and leaves %j", (field, values, rest) => {
	expect(takeCookie(field)).toEqual({ values, rest });
});

test.each([undefined, "", "a=1; b=2", "__host-gangway=p", "__Host-gangwa=p"])("%j has none of ours", (field) => {
	expect(takeCookie(field)).toBeUndefined();
});

test("a quote that an app's cookie opens does not hide ours in its value", () => {
	expect(takeCookie('a="x; __Host-gangway=p; b=y"')).toEqual({ values: ["p"], rest: 'a="x; b=y"' });
});

test("the app's cookies keep their bytes, also those that Unicode calls spaces", () => {
	expect(takeCookie("a=\xc3\xa0; __Host-gangway=p; b=\xa0\xa0")?.rest).toBe("a=\xc3\xa0; b=\xa0\xa0");
});

test("a cookie of another devbox, whose name only Unicode would trim to ours, neither counts nor displaces ours", () => {
	const planted = "\xa0__Host-gangway=x; ".repeat(4);
	expect(takeCookie(`${planted}__Host-gangway=p`)).toEqual({ values: ["p"], rest: planted.replace(/; $/, "") });
});

test("a field of nothing but our name over and over is looked at a few times", () => {
	expect(takeCookie("__Host-gangway=x;".repeat(1_000))).toEqual({ values: ["x", "x", "x", "x"], rest: "" });
});

test("is set so that only its own host gets it, over TLS, out of reach of scripts and of other sites", () => {
	expect(setCookie("p", 60)).toEqual([
		"set-cookie",
		"__Host-gangway=p; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60",
	]);
	expect(clearCookie[1]).toContain("__Host-gangway=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
});
