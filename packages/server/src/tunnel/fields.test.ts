import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fieldsOfHttp2, joined, pairs, requestFields, responseFields, trailerFields } from "./fields.js";

const plain = { remove: [], set: [], body: "as-is", upgrade: false } as const;

describe("requestFields", () => {
	test("keeps order, case and duplicates", () => {
		const fields = ["Host", "a", "X-B", "1", "cookie", "x", "x-b", "2", "X-B", "3"];
		expect(requestFields(fields, plain)).toEqual(fields);
	});

	test.each([
		"Connection",
		"Keep-Alive",
		"TE",
		"Trailer",
		"Transfer-Encoding",
		"Proxy-Authorization",
		"Proxy-Authenticate",
		"Proxy-Connection",
		"Upgrade",
	])("drops %s", (name) => {
		expect(requestFields(["Host", "a", name, "x", name.toLowerCase(), "y"], plain)).toEqual(["Host", "a"]);
	});

	test("drops what Connection names, in any of its fields and cases", () => {
		const fields = ["Connection", "close, X-One ,", "X-One", "1", "connection", "x-TWO", "x-two", "2", "X-Three", "3"];
		expect(requestFields(fields, plain)).toEqual(["X-Three", "3"]);
	});

	test("does not let Connection name what frames or addresses the message", () => {
		const fields = ["Host", "a", "Content-Length", "3", "Connection", "host, content-length"];
		expect(requestFields(fields, plain)).toEqual(["Host", "a", "Content-Length", "3"]);
	});

	test("does not let Connection take away what we vouch for", () => {
		const fields = ["Connection", "x-real-ip", "X-Real-IP", "6.6.6.6"];
		expect(requestFields(fields, { ...plain, set: [["x-real-ip", "1.2.3.4"]] })).toEqual(["x-real-ip", "1.2.3.4"]);
	});

	test("replaces every field of the same name, and removes what is spent", () => {
		const fields = ["X-Request", "a", "x-request", "b", "Authorization", "Bearer s"];
		const rules = { ...plain, remove: ["authorization"], set: [["x-request", "ours"]] as const };
		expect(requestFields(fields, rules)).toEqual(["x-request", "ours"]);
	});

	test("an upgrade keeps Upgrade and says so to the next hop only", () => {
		const fields = ["Connection", "keep-alive, Upgrade", "Upgrade", "websocket", "Keep-Alive", "5"];
		expect(requestFields(fields, { ...plain, upgrade: true })).toEqual([
			"Upgrade",
			"websocket",
			"Connection",
			"Upgrade",
		]);
	});

	test("frames a body in one way only", () => {
		const fields = ["Content-Length", "3", "Transfer-Encoding", "chunked"];
		expect(requestFields(fields, { ...plain, body: "chunked" })).toEqual(["Transfer-Encoding", "chunked"]);
		expect(requestFields(fields, { ...plain, body: "empty" })).toEqual(["Content-Length", "0"]);
	});

	test("never invents, reorders or repeats a field that stays", () => {
		const name = fc.constantFrom("Host", "X-A", "x-a", "Connection", "TE", "Cookie", "Upgrade", "X-B");
		const value = fc.constantFrom("x-a", "close", "x-b, te", "v");
		fc.assert(
			fc.property(fc.array(fc.tuple(name, value)), (given) => {
				const out = [...pairs(requestFields(given.flat(), plain))].map(String);
				const source = given.map(String);
				let at = 0;
				for (const field of out) {
					at = source.indexOf(field, at) + 1;
					expect(at).toBeGreaterThan(0);
				}
			}),
		);
	});
});

describe("responseFields", () => {
	test("drops hop-by-hop fields and keeps the others as they are", () => {
		const fields = ["Set-Cookie", "a", "Connection", "X-Hop", "X-Hop", "1", "set-cookie", "b", "Upgrade", "h2c"];
		expect(responseFields(fields, [])).toEqual(["Set-Cookie", "a", "set-cookie", "b"]);
	});

	test("puts our request id in the place of the app's", () => {
		expect(responseFields(["X-Runloop-Request-ID", "app"], [["x-runloop-request-id", "r"]])).toEqual([
			"x-runloop-request-id",
			"r",
		]);
	});

	test("drops a length next to a transfer coding", () => {
		expect(responseFields(["Content-Length", "3", "Transfer-Encoding", "chunked"], [])).toEqual([]);
	});
});

test("trailers cannot bring in what the header was checked for", () => {
	const fields = ["X-Sum", "1", "Authorization", "Bearer x", "Content-Length", "9", "X-Real-IP", "6.6.6.6"];
	expect(trailerFields(fields, ["x-real-ip"])).toEqual([["X-Sum", "1"]]);
});

test("HTTP/2 pseudo-fields become a Host, and its cookies one field", () => {
	const fields = [
		":method",
		"GET",
		":authority",
		"a.test",
		"cookie",
		"a=1",
		"x",
		"1",
		"host",
		"b.test",
		"cookie",
		"b=2",
	];
	expect(fieldsOfHttp2(fields, "a.test")).toEqual(["host", "a.test", "x", "1", "cookie", "a=1; b=2"]);
});

test("joined is undefined for an absent field and joins the others in order", () => {
	expect(joined(["X-A", "1", "x-a", "2"], "x-a")).toBe("1, 2");
	expect(joined(["X-A", "1"], "x-b")).toBeUndefined();
	expect(joined(["X-A", ""], "x-a")).toBe("");
});
