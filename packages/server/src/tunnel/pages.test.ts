import { describe, expect, test } from "vitest";
import * as notices from "./notices.js";
import { escapeHtml, readerOf, respond } from "./pages.js";
import { headerOf, request } from "./tunnel.fixture.js";

const browser = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };

test.each([{}, browser])(
	"every answer of ours is kept by no cache, runs nothing, tells no referrer (%j)",
	(headers) => {
		const response = respond(notices.notFound, "req-1", readerOf(request({ headers })));
		expect(Object.fromEntries(response.headers)).toMatchObject({
			"cache-control": "no-store",
			"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
			"referrer-policy": "no-referrer",
			"x-content-type-options": "nosniff",
			"x-runloop-request-id": "req-1",
		});
		expect(response.body).toContain("req-1");
	},
);

describe("a program", () => {
	test.each([{}, { accept: "*/*" }, { accept: "application/json" }])("with %j gets JSON", (headers) => {
		const response = respond(notices.starting, "req-1", readerOf(request({ headers })));
		expect(headerOf(response, "content-type")).toBe("application/json; charset=utf-8");
		expect(JSON.parse(response.body)).toEqual({
			error: { code: "devbox_starting", message: notices.starting.message },
			request_id: "req-1",
		});
	});

	test("that asks for an upgrade gets JSON even from a page", () => {
		const response = respond(notices.starting, "req-1", readerOf(request({ headers: browser, upgrade: true })));
		expect(headerOf(response, "content-type")).toContain("application/json");
	});
});

describe("a browser", () => {
	test("gets a page that reloads itself while the box starts, without a script", () => {
		const response = respond(notices.starting, "req-1", readerOf(request({ headers: browser })));
		expect(headerOf(response, "content-type")).toBe("text/html; charset=utf-8");
		expect(headerOf(response, "retry-after")).toBe("5");
		expect(response.body).toMatch(/<meta http-equiv="refresh" content="\d+">/);
		expect(response.body).not.toContain("<script");
	});

	test("that sent a form gets a page that does not reload, which would not send it again", () => {
		const response = respond(notices.starting, "req-1", readerOf(request({ headers: browser, method: "POST" })));
		expect(response.body).not.toContain("http-equiv");
	});

	test("gets a page that stays when waiting does not help", () => {
		expect(respond(notices.notFound, "req-1", readerOf(request({ headers: browser }))).body).not.toContain(
			"http-equiv",
		);
	});
});

test("a page with a form is shown in no frame", () => {
	const form = '<form method="post" action="/here"></form>';
	const response = respond(notices.unauthorized, "req-1", readerOf(request({ headers: browser })), [], form);
	expect(response.body).toContain(form);
	expect(headerOf(response, "content-security-policy")).toContain("frame-ancestors 'none'");
	expect(respond(notices.unauthorized, "req-1", readerOf(request({})), [], form).body).not.toContain("form");
});

test("text cannot leave its place in the page", () => {
	const hostile = { ...notices.notFound, message: `<img src=x onerror="a('b')">&` };
	const { body } = respond(hostile, "<b>", readerOf(request({ headers: browser })));
	expect(body).not.toContain("<img");
	expect(body).not.toContain("<b>");
	expect(escapeHtml(hostile.message)).toBe("&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;");
});
