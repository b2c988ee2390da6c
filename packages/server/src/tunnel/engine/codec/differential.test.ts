/** What this parser accepts, Node's own (llhttp, strict) must accept with the same meaning. */
import * as http from "node:http";
import * as net from "node:net";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseRequest } from "./codec.fixture.js";
import { CHUNKED } from "./request-head.js";

interface Seen {
	method: string;
	url: string;
	host: string | undefined;
	fields: string[];
	body: string;
}

const server = http.createServer({ insecureHTTPParser: false });
let port = 0;

beforeAll(async () => {
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	port = (server.address() as net.AddressInfo).port;
});
afterAll(() => {
	server.closeAllConnections();
	server.close();
});

/** What Node's server makes of it; undefined when it refuses. */
async function askNode(text: string): Promise<Seen | undefined> {
	return await new Promise((resolve) => {
		const socket = net.connect(port, "127.0.0.1");
		const settle = (seen: Seen | undefined) => {
			server.removeAllListeners("request");
			server.removeAllListeners("upgrade");
			server.removeAllListeners("checkContinue");
			server.removeAllListeners("checkExpectation");
			server.removeAllListeners("clientError");
			socket.destroy();
			resolve(seen);
		};
		const take = (request: http.IncomingMessage) => {
			let body = "";
			request.setEncoding("latin1");
			request.on("data", (chunk: string) => {
				body += chunk;
			});
			request.on("end", () => {
				const { method = "", url = "", headers, rawHeaders } = request;
				settle({ method, url, host: headers.host, fields: rawHeaders, body });
			});
		};
		server.on("request", take);
		server.on("checkContinue", take);
		server.on("checkExpectation", take);
		server.on("upgrade", take);
		server.on("clientError", () => settle(undefined));
		socket.on("error", () => {});
		socket.write(text, "latin1");
	});
}

/** Pieces that parsers are known to disagree about, and ordinary ones. */
const odd = [
	" ",
	"\t",
	"\r",
	"\n",
	"\r\n",
	"\0",
	"\x0b",
	"\x7f",
	"\xa0",
	":",
	",",
	";",
	"chunked",
	"0",
	"1",
	"5",
	"\\",
	"#",
	"_",
	"-",
];
const name = fc.constantFrom(
	"Host",
	"Content-Length",
	"Transfer-Encoding",
	"Connection",
	"Expect",
	"Upgrade",
	"X-A",
	"x_b",
	"Cookie",
);
const value = fc.oneof(
	fc.constantFrom(
		"t",
		"0",
		"5",
		"chunked",
		"close",
		"keep-alive",
		"Upgrade",
		"websocket",
		"100-continue",
		"a, b",
		"",
		"\xe9",
	),
	fc.array(fc.constantFrom(...odd, "a", "b"), { maxLength: 6 }).map((parts) => parts.join("")),
);
const separator = fc.oneof(
	{ weight: 20, arbitrary: fc.constantFrom(": ", ":", ":  ", ":\t") },
	{ weight: 1, arbitrary: fc.constantFrom(" : ", "", ":\r\n ") },
);
const lineEnd = fc.oneof(
	{ weight: 30, arbitrary: fc.constant("\r\n") },
	{ weight: 1, arbitrary: fc.constantFrom("\n", "\r", "\r\r\n", " \r\n") },
);
const target = fc.oneof(
	{ weight: 5, arbitrary: fc.constantFrom("/", "/a?b", "/a%20b", "/{x}|y?z\\w", "http://t/a", "https://t", "*") },
	{ weight: 1, arbitrary: fc.constantFrom("http://u/", "a", "/\\a", "/#b", "/\xe9", "//t/a") },
);
const request = fc
	.tuple(
		fc.constantFrom("GET", "POST", "PUT", "OPTIONS", "DELETE", "PATCH"),
		target,
		fc.oneof(
			{ weight: 20, arbitrary: fc.constant("HTTP/1.1") },
			{ weight: 1, arbitrary: fc.constantFrom("HTTP/1.0", "HTTP/1.2", "HTTP/2.0") },
		),
		fc.array(fc.tuple(name, separator, value, lineEnd), { maxLength: 6 }),
		lineEnd,
	)
	.map(([method, url, version, fields, end]) => ({
		text: `${method} ${url} ${version}\r\nHost: t\r\n${fields.flat().join("")}${end}`,
		method,
	}));

describe("against Node's parser", () => {
	it("means the same by every head that it accepts", async () => {
		let accepted = 0;
		await fc.assert(
			fc.asyncProperty(request, async ({ text, method }) => {
				const head = parseRequest(text);
				if (typeof head === "number") return;
				accepted++;
				const body =
					head.bodyLength === CHUNKED ? "3\r\nabc\r\n0\r\n\r\n" : "x".repeat(Math.min(head.bodyLength, 1000));
				if (head.bodyLength > 1000) return;
				const seen = await askNode(text.slice(0, head.end - 6) + body);
				expect(seen, JSON.stringify(text)).toBeDefined();
				expect(seen?.method).toBe(method);
				expect(seen?.host).toBe(head.authority);
				if (!head.absolute) expect(seen?.url).toBe(head.target);
				expect(seen?.fields).toEqual(head.fields.list(head.bytes).flat());
				// Node gives the rest of an upgrade's connection to somebody else.
				if (!head.connection.upgrade) expect(seen?.body).toBe(head.bodyLength === CHUNKED ? "abc" : body);
			}),
			{ numRuns: 3000 },
		);
		expect(accepted).toBeGreaterThan(100);
	});
});
