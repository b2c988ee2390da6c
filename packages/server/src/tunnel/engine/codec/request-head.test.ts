import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS, parseRequest } from "./codec.fixture.js";
import { BAD, INCOMPLETE, TOO_LARGE, UNKNOWN_CODING, UNKNOWN_VERSION } from "./fields.js";
import { CHUNKED, type RequestHead } from "./request-head.js";

const BROWSER =
	"GET /app/?q=a%20b&r={x|y} HTTP/1.1\r\nHost: 3000-abc.tunnel.example:7443\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nCookie: a=b; c=d\r\nX-Empty:\r\nX-Latin: \xe9\xff\r\n\r\n";

function parsed(text: string): RequestHead {
	const head = parseRequest(text);
	if (typeof head === "number") throw new TypeError(`refused with ${head}`);
	return head;
}

describe("a request head", () => {
	it("is read whole", () => {
		const head = parsed(BROWSER);
		expect(head).toMatchObject({
			method: "GET",
			target: "/app/?q=a%20b&r={x|y}",
			authority: "3000-abc.tunnel.example:7443",
			minor: 1,
			keepAlive: true,
			upgrade: false,
			bodyLength: 0,
		});
		expect(head.header("accept-encoding")).toBe("gzip, deflate, br");
		expect(head.header("x-empty")).toBe("");
		expect(head.header("x-latin")).toBe("\xe9\xff");
		expect(head.header("x-other")).toBeUndefined();
	});

	it("joins fields of one name, cookies as one field would have them", () => {
		const head = parsed("GET / HTTP/1.1\r\nHost: t\r\nCookie: a=1\r\nX: 1\r\ncookie: b=2, 3\r\nx: 2\r\n\r\n");
		expect(head.header("cookie")).toBe("a=1; b=2, 3");
		expect(head.header("x")).toBe("1, 2");
	});

	it("is incomplete at every byte before its end, and ends there", () => {
		for (let length = 0; length < BROWSER.length; length++) {
			expect(parseRequest(BROWSER.slice(0, length))).toBe(INCOMPLETE);
		}
		expect(parsed(`${BROWSER}GET / rest`).end).toBe(6 + BROWSER.length);
	});

	it("survives another parse once detached", () => {
		const head = parsed(BROWSER);
		head.detach();
		parsed("GET / HTTP/1.1\r\nHost: other\r\nCookie: other\r\n\r\n");
		expect(head.header("cookie")).toBe("a=b; c=d");
	});

	const with_ = (fields: string, line = "POST / HTTP/1.1") => `${line}\r\nHost: t\r\n${fields}\r\n\r\n`;
	const refused: [name: string, text: string, result: number][] = [
		["no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", BAD],
		["no Host in 1.0", "GET / HTTP/1.0\r\n\r\n", BAD],
		["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", BAD],
		["two Hosts", with_("Host: t"), BAD],
		["userinfo in Host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", BAD],
		["a comma in Host", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", BAD],
		["two lengths", with_("Content-Length: 1\r\nContent-Length: 1"), BAD],
		["a list of lengths", with_("Content-Length: 1, 1"), BAD],
		["a signed length", with_("Content-Length: +1"), BAD],
		["a hexadecimal length", with_("Content-Length: 0x1"), BAD],
		["an empty length", with_("Content-Length:"), BAD],
		["a huge length", with_("Content-Length: 9999999999999999"), BAD],
		["length and coding", with_("Content-Length: 1\r\nTransfer-Encoding: chunked"), BAD],
		["coding and length", with_("Transfer-Encoding: chunked\r\nContent-Length: 1"), BAD],
		["coding twice", with_("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), BAD],
		["chunked twice", with_("Transfer-Encoding: chunked, chunked"), BAD],
		["identity", with_("Transfer-Encoding: identity"), BAD],
		["chunked not last", with_("Transfer-Encoding: chunked, gzip"), BAD],
		["a quoted coding", with_('Transfer-Encoding: "chunked"'), BAD],
		["a coding with a parameter", with_("Transfer-Encoding: chunked;a=b"), BAD],
		["an unknown coding before chunked", with_("Transfer-Encoding: gzip, chunked"), UNKNOWN_CODING],
		["chunked in 1.0", with_("Transfer-Encoding: chunked", "POST / HTTP/1.0"), BAD],
		["CONNECT", "CONNECT t:1 HTTP/1.1\r\nHost: t:1\r\n\r\n", UNKNOWN_CODING],
		["CONNECT of a path", "CONNECT / HTTP/1.1\r\nHost: t\r\n\r\n", UNKNOWN_CODING],
		["another version", "GET / HTTP/1.2\r\nHost: t\r\n\r\n", UNKNOWN_VERSION],
		["HTTP/2 in words", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UNKNOWN_VERSION],
		["HTTP/0.9", "GET /\r\n", BAD],
		["lower-case protocol", "GET / http/1.1\r\nHost: t\r\n\r\n", BAD],
		["a foreign absolute-form", "GET http://u/ HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["an absolute-form with userinfo", "GET http://t@u/ HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["another scheme", "GET ftp://t/ HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["a star for GET", "GET * HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["a relative path", "GET a HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["a fragment", "GET /#a HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["a backslash in the path", "GET /\\a HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["two spaces", "GET  / HTTP/1.1\r\nHost: t\r\n\r\n", BAD],
		["naming Host in Connection", with_("Connection: host"), BAD],
		["naming the length in Connection", with_("Connection: close, Content-Length"), BAD],
		["a broken Connection", with_("Connection: a b"), BAD],
		["two empty lines before", `\r\n\r\n${BROWSER}`, BAD],
	];
	it.each(refused)("is refused with %s", (_name, text, result) => {
		expect(parseRequest(text)).toBe(result);
	});

	it("is refused for every character that has no place in its part", () => {
		for (let code = 0; code < 256; code++) {
			const character = String.fromCharCode(code);
			const token = /[\w!#$%&'*+.^`|~-]/.test(character);
			const value = code === 9 || (code >= 0x20 && code !== 0x7f);
			const method = parseRequest(`G${character}T / HTTP/1.1\r\nHost: t\r\n\r\n`);
			expect(typeof method === "object", `method ${code}`).toBe(token);
			const name = parseRequest(`GET / HTTP/1.1\r\nHost: t\r\nA${character}: b\r\n\r\n`);
			expect(typeof name === "object", `name ${code}`).toBe(token || character === ":");
			const inValue = parseRequest(`GET / HTTP/1.1\r\nHost: t\r\nA: b${character}c\r\n\r\n`);
			expect(typeof inValue === "object", `value ${code}`).toBe(value);
			const target = parseRequest(`GET /a${character}b HTTP/1.1\r\nHost: t\r\n\r\n`);
			expect(typeof target === "object", `target ${code}`).toBe(/[!$-;=?-Z[\]^-~]/.test(character) && code !== 0x7f);
		}
	});

	it("holds to its limits exactly", () => {
		const fields = (count: number) => `GET / HTTP/1.1\r\nHost: t\r\n${"a: b\r\n".repeat(count - 1)}\r\n`;
		expect(typeof parseRequest(fields(100))).toBe("object");
		expect(parseRequest(fields(101))).toBe(TOO_LARGE);
		const frame = "GET / HTTP/1.1\r\nHost: t\r\na: \r\n\r\n".length;
		const sized = (size: number) => `GET / HTTP/1.1\r\nHost: t\r\na: ${"b".repeat(size - frame)}\r\n\r\n`;
		expect(typeof parseRequest(sized(LIMITS.headBytes))).toBe("object");
		expect(parseRequest(sized(LIMITS.headBytes + 1))).toBe(TOO_LARGE);
		expect(parseRequest(`GET /${"a".repeat(LIMITS.headBytes)}`)).toBe(TOO_LARGE);
	});

	it("tells what follows it", () => {
		expect(parsed(with_("Content-Length: 12"))).toMatchObject({ bodyLength: 12, keepAlive: true });
		expect(parsed(with_("transfer-encoding:  CHUNKED "))).toMatchObject({ bodyLength: CHUNKED });
		expect(parsed(with_("Connection: Close"))).toMatchObject({ keepAlive: false });
		expect(parsed(with_("", "GET / HTTP/1.0").replace("t\r\n\r\n", "t\r\n"))).toMatchObject({
			keepAlive: false,
			minor: 0,
		});
		expect(parsed(with_("Connection: keep-alive", "GET / HTTP/1.0"))).toMatchObject({ keepAlive: true });
		expect(parsed(with_("Expect: 100-Continue"))).toMatchObject({ expectsContinue: true });
		expect(parsed(`\r\n${BROWSER}`)).toMatchObject({ method: "GET" });
	});

	it("asks for an upgrade only when it may have one", () => {
		expect(parsed(with_("Connection: Upgrade\r\nUpgrade: websocket"))).toMatchObject({ upgrade: true });
		expect(parsed(with_("Connection: keep-alive, Upgrade\r\nUpgrade: websocket"))).toMatchObject({ upgrade: true });
		expect(parsed(with_("Upgrade: websocket"))).toMatchObject({ upgrade: false });
		expect(parsed(with_("Connection: Upgrade"))).toMatchObject({ upgrade: false });
		expect(parsed(with_("Connection: Upgrade\r\nUpgrade: websocket", "GET / HTTP/1.0"))).toMatchObject({
			upgrade: false,
		});
		for (const protocol of ["h2c", "H2C", "h2", "websocket, h2c"]) {
			expect(parsed(with_(`Connection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}`))).toMatchObject({
				upgrade: false,
			});
		}
	});

	it("is what was printed", () => {
		const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}$/);
		const value = fc
			.array(
				fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f),
				{ maxLength: 40 },
			)
			.map((codes) => String.fromCharCode(...codes).replace(/^[ \t]+|[ \t]+$/g, ""));
		const ordinary = token.map((name) => `x-${name}`);
		fc.assert(
			fc.property(
				token.filter((method) => method !== "CONNECT"),
				fc.stringMatching(/^\/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,40}(\?[A-Za-z0-9\\/?{}|]{0,10})?$/),
				fc.array(fc.tuple(ordinary, value), { maxLength: 20 }),
				(method, target, fields) => {
					const text = `${method} ${target} HTTP/1.1\r\nHost: t\r\n${fields.map(([name, v]) => `${name}: ${v}\r\n`).join("")}\r\n`;
					const head = parsed(text);
					expect(head.method).toBe(method);
					expect(head.target).toBe(target);
					expect(head.fields.list(head.bytes)).toEqual([["Host", "t"], ...fields]);
					expect(head.raw).toBe(text);
				},
			),
			{ numRuns: 500 },
		);
	});
});
