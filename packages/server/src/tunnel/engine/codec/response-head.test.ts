import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseResponse } from "./codec.fixture.js";
import { BAD, INCOMPLETE } from "./fields.js";
import { CHUNKED } from "./request-head.js";
import { type ResponseHead, UNTIL_CLOSE } from "./response-head.js";

const RESPONSE =
	"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2035 00:00:00 GMT\r\nContent-Length: 12\r\nKeep-Alive: max=10, timeout=5\r\nX: \xe9\r\n\r\n";

function parsed(text: string, method?: string): ResponseHead {
	const head = parseResponse(text, method);
	if (typeof head === "number") throw new TypeError(`refused with ${head}`);
	return head;
}

describe("a response head", () => {
	it("is read whole", () => {
		expect(parsed(RESPONSE)).toMatchObject({
			status: 200,
			reason: "OK",
			bodyLength: 12,
			keepAlive: true,
			keepAliveSeconds: 5,
			bodiless: false,
		});
	});

	it("is incomplete at every byte before its end", () => {
		for (let length = 0; length < RESPONSE.length; length++) {
			expect(parseResponse(RESPONSE.slice(0, length)), `${length}`).toBe(INCOMPLETE);
		}
	});

	it("may lack a reason", () => {
		expect(parsed("HTTP/1.1 200 \r\n\r\n")).toMatchObject({ status: 200, reason: "" });
		expect(parsed("HTTP/1.1 200\r\n\r\n")).toMatchObject({ status: 200, reason: "" });
	});

	const refused: [name: string, text: string][] = [
		["another version", "HTTP/1.2 200 OK\r\n\r\n"],
		["HTTP/2", "HTTP/2 200\r\n\r\n"],
		["lower case", "http/1.1 200 OK\r\n\r\n"],
		["a short status", "HTTP/1.1 20 OK\r\n\r\n"],
		["a long status", "HTTP/1.1 2000 OK\r\n\r\n"],
		["a status below 100", "HTTP/1.1 099 OK\r\n\r\n"],
		["a status above 599", "HTTP/1.1 600 OK\r\n\r\n"],
		["two spaces", "HTTP/1.1  200 OK\r\n\r\n"],
		["a bare LF", "HTTP/1.1 200 OK\nA: b\n\n"],
		["a bare CR", "HTTP/1.1 200 OK\rA: b\r\n\r\n"],
		["a control character in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"],
		["a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
		["a space before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n"],
		["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"],
		["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n\r\n"],
		["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
		["length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
		["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
		["chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
		["no name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n"],
	];
	it.each(refused)("is refused with %s", (_name, text) => {
		expect(parseResponse(text)).toBe(BAD);
	});

	it("tells how its body is framed", () => {
		expect(parsed("HTTP/1.1 200 OK\r\n\r\n")).toMatchObject({ bodyLength: UNTIL_CLOSE, keepAlive: false });
		expect(parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")).toMatchObject({ bodyLength: CHUNKED });
		expect(parsed(RESPONSE, "HEAD")).toMatchObject({ bodyLength: 0, bodiless: true, keepAlive: true });
		expect(parsed("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n")).toMatchObject({ bodyLength: 0, bodiless: true });
		expect(parsed("HTTP/1.1 204 N\r\n\r\n")).toMatchObject({ bodyLength: 0, keepAlive: true });
		expect(parsed("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n")).toMatchObject({ keepAlive: false });
		expect(parsed("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n")).toMatchObject({
			keepAlive: true,
		});
	});

	it("switches only to what was asked for", () => {
		const head = parsed("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n");
		expect(head.switchesTo("websocket")).toBe(true);
		expect(head.switchesTo("foo, websocket")).toBe(true);
		expect(head.switchesTo("foo")).toBe(false);
		expect(head.switchesTo("")).toBe(false);
		expect(parsed("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n").switchesTo("websocket")).toBe(false);
	});

	it("is what was printed", () => {
		const fields = fc.array(
			fc.tuple(fc.stringMatching(/^[xX]-[a-zA-Z0-9]{1,10}$/), fc.stringMatching(/^([!-~]([ -~]{0,20}[!-~])?)?$/)),
			{ maxLength: 20 },
		);
		fc.assert(
			fc.property(
				fc.integer({ min: 200, max: 599 }),
				fc.stringMatching(/^[ -~]{0,20}$/),
				fields,
				(status, reason, list) => {
					const text = `HTTP/1.1 ${status} ${reason}\r\n${list.map(([name, v]) => `${name}:${v}\r\n`).join("")}\r\n`;
					const head = parsed(text);
					expect(head.status).toBe(status);
					expect(head.reason).toBe(reason);
					expect(head.fields.list(head.bytes)).toEqual(list);
				},
			),
			{ numRuns: 500 },
		);
	});
});
