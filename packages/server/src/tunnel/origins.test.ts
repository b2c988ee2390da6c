import { describe, expect, test } from "vitest";
import type { RequestInfo } from "./decision.js";
import { allowedOrigin, isOwnPage, mayUseCookie } from "./origins.js";
import { request, route, target, visit } from "./tunnel.fixture.js";

const box = target({
	authMode: "authenticated",
	token: "s3cret",
	corsOrigins: ["https://app.example", "http://dev.example:5173"],
});

interface Change extends Partial<RequestInfo> {
	readonly site?: string;
	readonly mode?: string;
	readonly referer?: string;
}

const from = (origin: string | undefined, { site, mode, referer, ...change }: Change = {}) => {
	const headers = {
		...(origin === undefined ? {} : { origin }),
		...(site === undefined ? {} : { "sec-fetch-site": site }),
		...(mode === undefined ? {} : { "sec-fetch-mode": mode }),
		...(referer === undefined ? {} : { referer }),
	};
	return visit(box, request({ ...change, headers }));
};

describe("an origin that may use the tunnel", () => {
	test.each([
		["its own host", "https://3000-keya.tunnel.test"],
		["another port of the same tunnel", "https://8080-keya.tunnel.test"],
		["another port, behind a port mapping", "https://8080-keya.tunnel.test:7443"],
		["one that the tunnel names", "https://app.example"],
		["one that the tunnel names, plain", "http://dev.example:5173"],
	])("is %s", (_name, origin) => {
		expect(allowedOrigin(from(origin), route)).toBe(origin);
	});

	test.each([
		["another tunnel", "https://3000-keyb.tunnel.test"],
		["the domain above", "https://tunnel.test"],
		["a name that ends like one of ours", "https://3000-keya.tunnel.test.evil.example"],
		["a name that begins like the named one", "https://app.example.evil.example"],
		["the named one in another case", "https://APP.example"],
		["the named one on another port", "https://app.example:8443"],
		["the named one, plain", "http://app.example"],
		["a plain page of our own, while we are asked over TLS", "http://3000-keya.tunnel.test"],
		["an opaque origin", "null"],
		["nothing", ""],
		["two origins", "https://3000-keya.tunnel.test, https://evil.example"],
		["one with a path", "https://3000-keya.tunnel.test/"],
		["one with a user", "https://evil@3000-keya.tunnel.test"],
		["one of another scheme", "ftp://3000-keya.tunnel.test"],
		["one with a backslash", "https://3000-keya.tunnel.test\\.evil.example"],
		["one with a line break", "https://3000-keya.tunnel.test\r\nx: y"],
	])("is not %s", (_name, origin) => {
		expect(allowedOrigin(from(origin), route)).toBeUndefined();
	});

	test("is a plain one where the request came plain", () => {
		for (const origin of ["http://3000-keya.tunnel.test", "http://8080-keya.tunnel.test"]) {
			expect(allowedOrigin(from(origin, { secure: false }), route)).toBe(origin);
		}
	});
});

describe("its own host", () => {
	test.each([
		["preview.customer.example", "https://preview.customer.example", true],
		["Preview.Customer.example", "https://preview.customer.example", true],
		["preview.customer.example:8443", "https://preview.customer.example:8443", true],
		["preview.customer.example:443", "https://preview.customer.example", true],
		["preview.customer.example", "https://preview.customer.example:443", true],
		["preview.customer.example:80", "https://preview.customer.example", false],
		["preview.customer.example:8443", "https://preview.customer.example", false],
		["preview.customer.example", "https://preview.customer.example:8443", false],
		["preview.customer.example", "https://other.customer.example", false],
		["[::1]:7443", "https://[::1]:7443", true],
	])("of a request for %s: is %s it? %s", (authority, origin, own) => {
		expect(isOwnPage(from(origin, { authority }))).toBe(own);
	});

	test("is what the browser says it is, also for a page without referrer, whose forms have the origin null", () => {
		expect(isOwnPage(from("null", { site: "same-origin" }))).toBe(true);
		for (const site of ["same-site", "cross-site", "none", "same-origin, same-origin", ""]) {
			expect(isOwnPage(from("null", { site }))).toBe(false);
			expect(isOwnPage(from("https://3000-keya.tunnel.test", { site }))).toBe(false);
		}
	});

	test("is not another port of the same tunnel", () => {
		expect(isOwnPage(from("https://8080-keya.tunnel.test"))).toBe(false);
	});

	test("is unknown without either field", () => {
		expect(isOwnPage(from(undefined))).toBe(false);
		expect(isOwnPage(from("null"))).toBe(false);
	});
});

describe("the cookie counts", () => {
	const own = "https://3000-keya.tunnel.test";
	const upgrade = { upgrade: true };

	test.each([
		["GET without an origin: a page load", undefined, {}, true],
		["HEAD without an origin", undefined, { method: "HEAD" }, true],
		["OPTIONS without an origin", undefined, { method: "OPTIONS" }, true],
		["GET with the own origin", own, {}, true],
		["GET with a foreign origin, which the app might let read it", "https://3000-keyb.tunnel.test", {}, false],
		["GET from an opaque origin", "null", {}, false],
		["POST without an origin", undefined, { method: "POST" }, false],
		["POST from an opaque origin", "null", { method: "POST" }, false],
		["POST with the own origin", own, { method: "POST" }, true],
		["POST from another port", "https://8080-keya.tunnel.test", { method: "POST" }, true],
		["POST from a named origin", "https://app.example", { method: "POST" }, true],
		["POST from another tunnel", "https://3000-keyb.tunnel.test", { method: "POST" }, false],
		["POST of a page without referrer", "null", { method: "POST", site: "same-origin" }, true],
		["POST of another tunnel's page without referrer", "null", { method: "POST", site: "same-site" }, false],
		[
			"POST from another tunnel that is called the same origin",
			"https://3000-keyb.tunnel.test",
			{ method: "POST", site: "same-origin" },
			false,
		],
		["DELETE without an origin", undefined, { method: "DELETE" }, false],
		["a method nobody knows", undefined, { method: "get" }, false],
		["a WebSocket without an origin", undefined, upgrade, false],
		["a WebSocket of its own page", own, upgrade, true],
		["a WebSocket of another port's page", "https://8080-keya.tunnel.test", upgrade, true],
		["a WebSocket of another tunnel's page", "https://3000-keyb.tunnel.test", upgrade, false],
		["a WebSocket of a sandboxed page", "null", upgrade, false],
	])("%s", (_name, origin, change, counts) => {
		expect(mayUseCookie(from(origin, change), route)).toBe(counts);
	});

	const embedded = { site: "same-site", mode: "no-cors" };

	test.each<[string, Change, boolean]>([
		["another tunnel's page", { ...embedded, referer: "https://3000-keyb.tunnel.test/" }, false],
		["another tunnel's page that hides itself", embedded, false],
		["another site's page", { ...embedded, site: "cross-site", referer: "https://evil.example/" }, false],
		[
			"another tunnel's page, with the own name in its path",
			{ ...embedded, referer: `https://evil.example/${own}` },
			false,
		],
		["another tunnel's page, with the own name before an @", { ...embedded, referer: `${own}@evil.example/` }, false],
		["the own page, come plain", { ...embedded, referer: "http://3000-keya.tunnel.test/" }, false],
		["a request without a mode", { site: "same-site" }, false],
		["a HEAD of another tunnel's page", { ...embedded, method: "HEAD" }, false],
		["an own page", { ...embedded, site: "same-origin" }, true],
		["another port's page", { ...embedded, referer: "https://8080-keya.tunnel.test/" }, true],
		["a named origin's page", { ...embedded, site: "cross-site", referer: "https://app.example/a?b" }, true],
		["a link, whoever shows it", { site: "cross-site", mode: "navigate" }, true],
		["the user, who typed or saved it", { ...embedded, site: "none" }, true],
		["who does not say", {}, true],
	])("GET for %s", (_name, change, counts) => {
		expect(mayUseCookie(from(undefined, change), route)).toBe(counts);
	});
});
