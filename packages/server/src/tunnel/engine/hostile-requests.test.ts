/** Requests that readers understand differently, and what a box and the client get of them: byte for byte. */
import { describe, expect, it } from "vitest";
import { answering, ask, connect, proxyTo, rawServer, startEngine } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/** Follows each hostile request: nobody may ever answer it. */
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";

const get = (fields: string) => `GET / HTTP/1.1\r\nHost: t\r\n${fields}\r\n\r\n`;
const post = (fields: string, body = "") => `POST / HTTP/1.1\r\nHost: t\r\n${fields}\r\n\r\n${body}`;
const line = (start: string) => `${start}\r\nHost: t\r\n\r\n`;

const refused: [name: string, request: string, status: number][] = [
	// Framing.
	["CL.TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400],
	["TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"), 400],
	["TE.TE with identity", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"), 400],
	["TE.TE with a list", post("Transfer-Encoding: identity, chunked", "0\r\n\r\n"), 400],
	["a coding before chunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), 501],
	["a coding after chunked", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), 400],
	["chunked twice in one field", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), 400],
	["chunked twice in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400],
	["an unknown coding", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), 400],
	["a misspelt coding", post("Transfer-Encoding: chunke", "0\r\n\r\n"), 400],
	["a quoted coding", post('Transfer-Encoding: "chunked"', "0\r\n\r\n"), 400],
	["an empty coding", post("Transfer-Encoding:", "0\r\n\r\n"), 400],
	["a coding with a trailing comma", post("Transfer-Encoding: chunked,", "0\r\n\r\n"), 400],
	["a coding with a leading comma", post("Transfer-Encoding: ,chunked", "0\r\n\r\n"), 400],
	["a coding with a parameter", post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"), 400],
	["a coding with a vertical tab", post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"), 400],
	["a coding with a tab behind", post("Transfer-Encoding: chunked\t", "0\r\n\r\n"), 400],
	["a coding with a NUL", post("Transfer-Encoding: chunked\0", "0\r\n\r\n"), 400],
	["a coding with a space before the colon", post("Transfer-Encoding : chunked", "0\r\n\r\n"), 400],
	["a coding on a folded line", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), 400],
	["a coding behind a bare LF", post("A: b\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400],
	["a coding behind a bare CR", post("A: b\rTransfer-Encoding: chunked", "0\r\n\r\n"), 400],
	["a coding in HTTP/1.0", `POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
	["two different lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello"), 400],
	["two equal lengths", post("Content-Length: 5\r\nContent-Length: 5", "hello"), 400],
	["a list of lengths", post("Content-Length: 5, 5", "hello"), 400],
	["a positive sign", post("Content-Length: +5", "hello"), 400],
	["a negative length", post("Content-Length: -5", "hello"), 400],
	["a hexadecimal length", post("Content-Length: 0x5", "hello"), 400],
	["a length with a fraction", post("Content-Length: 5.0", "hello"), 400],
	["a length with an exponent", post("Content-Length: 5e0", "hello"), 400],
	["a length with a space inside", post("Content-Length: 5 5", "hello"), 400],
	["a length with a NUL", post("Content-Length: 5\0", "hello"), 400],
	["a length with another digit script", post("Content-Length: \xd9\xa5", "hello"), 400],
	["an empty length", post("Content-Length: ", "hello"), 400],
	["a length beyond 2^64", post("Content-Length: 18446744073709551621", "hello"), 400],
	["a length behind a folded line", post("A: b\r\n Content-Length: 5", "hello"), 400],
	// Field syntax.
	["a space before the colon", get("A : b"), 400],
	["a tab before the colon", get("A\t: b"), 400],
	["no colon", get("A"), 400],
	["no name", get(": b"), 400],
	["a folded line", get("A: b\r\n\tc"), 400],
	["a line that begins with a space at once", "GET / HTTP/1.1\r\n Host: t\r\n\r\n", 400],
	["a NUL in a name", get("A\0: b"), 400],
	["a NUL in a value", get("A: b\0c"), 400],
	["a control character in a value", get("A: b\x01c"), 400],
	["DEL in a value", get("A: b\x7fc"), 400],
	["bytes above ASCII in a name", get("A\xe9: b"), 400],
	["a slash in a name", get("A/b: c"), 400],
	["bare LF line ends", "GET / HTTP/1.1\nHost: t\n\n", 400],
	["a bare LF as the last line end", "GET / HTTP/1.1\r\nHost: t\r\n\n", 400],
	["CR CR LF", "GET / HTTP/1.1\r\nHost: t\r\r\n\r\n", 400],
	["a bare CR after a value", "GET / HTTP/1.1\r\nHost: t\rA: b\r\n\r\n", 400],
	// Request line.
	["an empty method", line(" / HTTP/1.1"), 400],
	["a space before the method", line(" GET / HTTP/1.1"), 400],
	["two spaces before the target", line("GET  / HTTP/1.1"), 400],
	["two spaces after the target", line("GET /  HTTP/1.1"), 400],
	["a tab for a space", line("GET\t/ HTTP/1.1"), 400],
	["a space in the target", line("GET /a b HTTP/1.1"), 400],
	["a space after the version", line("GET / HTTP/1.1 "), 400],
	["a method that is no token", line("G(T / HTTP/1.1"), 400],
	["a NUL in the target", line("GET /\0 HTTP/1.1"), 400],
	["a fragment", line("GET /#a HTTP/1.1"), 400],
	["bytes above ASCII in the target", line("GET /\xc3\xa9 HTTP/1.1"), 400],
	["a backslash path", line("GET \\ HTTP/1.1"), 400],
	["an authority as target", line("GET t:80 HTTP/1.1"), 400],
	["CONNECT", line("CONNECT t:80 HTTP/1.1"), 501],
	["HTTP/0.9", "GET /\r\n\r\n", 400],
	["HTTP/2 over HTTP/1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
	["HTTP/1.2", line("GET / HTTP/1.2"), 505],
	["HTTP/01.1", line("GET / HTTP/01.1"), 400],
	["a lower-case protocol", line("GET / http/1.1"), 400],
	["another protocol", line("GET / ICAP/1.1"), 400],
	["a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400],
	// Host.
	["no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400],
	["two Hosts", get("Host: t"), 400],
	["two Hosts, one in another case", get("hOsT: u"), 400],
	["an empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400],
	["userinfo in Host", "GET / HTTP/1.1\r\nHost: t@u\r\n\r\n", 400],
	["a path in Host", "GET / HTTP/1.1\r\nHost: t/u\r\n\r\n", 400],
	["a space in Host", "GET / HTTP/1.1\r\nHost: t u\r\n\r\n", 400],
	["a list in Host", "GET / HTTP/1.1\r\nHost: t, u\r\n\r\n", 400],
	["absolute-form for another host", "GET http://u/ HTTP/1.1\r\nHost: t\r\n\r\n", 400],
	["absolute-form with another port", "GET http://t:81/ HTTP/1.1\r\nHost: t\r\n\r\n", 400],
	["absolute-form with userinfo", "GET http://u@t/ HTTP/1.1\r\nHost: t\r\n\r\n", 400],
	["absolute-form with an empty host", "GET http:/// HTTP/1.1\r\nHost: t\r\n\r\n", 400],
	// Connection.
	["Connection that names Host", get("Connection: Host"), 400],
	["Connection that names Content-Length", post("Connection: close, content-length\r\nContent-Length: 0"), 400],
	["Connection that is no list of tokens", get("Connection: a b"), 400],
	// Size.
	["101 fields", get("a: b\r\n".repeat(99).concat("a: b")), 431],
	["17 KiB of one field", get(`a: ${"b".repeat(17 * 1024)}`), 431],
	["17 KiB of target", line(`GET /${"a".repeat(17 * 1024)} HTTP/1.1`), 431],
	["17 KiB of method", line(`${"A".repeat(17 * 1024)} / HTTP/1.1`), 431],
	// Chunks. The head is sound, so the box has begun to get the request; it never gets a whole one.
];

describe("a hostile request", () => {
	it.each(refused)("%s: is refused, and the box gets nothing", async (_name, request, status) => {
		const box = await rawServer(answering(OK));
		const { port, engine } = await startEngine(box.port);
		const text = await ask(port, request + SMUGGLED);
		expect(text.slice(0, 13)).toBe(`HTTP/1.1 ${status} `);
		expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
		expect(text).toContain("\r\nConnection: close\r\n");
		expect(box.peers).toHaveLength(0);
		expect(engine.stats().upstreams).toBe(0);
	});

	it("counts what it is asked to", () => expect(refused.length).toBeGreaterThanOrEqual(60));

	const chunks: [name: string, body: string][] = [
		["no size", "\r\nabc\r\n0\r\n\r\n"],
		["a signed size", "+3\r\nabc\r\n0\r\n\r\n"],
		["a prefixed size", "0x3\r\nabc\r\n0\r\n\r\n"],
		["a space after the size", "3 \r\nabc\r\n0\r\n\r\n"],
		["an overflowing size", "ffffffffffffffff3\r\nabc\r\n0\r\n\r\n"],
		["a bare LF after the size", "3\nabc\r\n0\r\n\r\n"],
		["a bare LF after the data", "3\r\nabc\n0\r\n\r\n"],
		["a bare LF in an extension", "3;a\nabc\r\n0\r\n\r\n"],
		["data longer than its chunk", "3\r\nabcd\r\n0\r\n\r\n"],
		["data shorter than its chunk", "5\r\nabc\r\n0\r\n\r\n"],
		["a bare LF at the end", "3\r\nabc\r\n0\r\n\n"],
		["a broken trailer", "3\r\nabc\r\n0\r\nA : b\r\n\r\n"],
		["a folded trailer", "3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n"],
	];
	it.each(chunks)("chunks with %s: the box never gets a whole request", async (_name, body) => {
		const box = await rawServer();
		const { port } = await startEngine(box.port);
		const text = await ask(port, post("Transfer-Encoding: chunked", body) + SMUGGLED);
		expect(text.slice(0, 13)).toBe("HTTP/1.1 400 ");
		expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
		// The connection may never have been made; if it was, it ended before the end of the request.
		for (const peer of box.peers) {
			await peer.finished();
			expect(peer.received).not.toMatch(/\r\n0\r\n|smuggled/);
		}
	});
});

describe("an odd request", () => {
	const clean = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
	const accepted: [name: string, request: string, received: string][] = [
		["an empty line before", `\r\n${clean}`, clean],
		[
			"a value that looks like a request",
			get("A: GET /smuggled HTTP/1.1"),
			"GET / HTTP/1.1\r\nHost: t\r\nA: GET /smuggled HTTP/1.1\r\n\r\n",
		],
		["no space after the colon, many after the value", get("A:b   "), "GET / HTTP/1.1\r\nHost: t\r\nA:b   \r\n\r\n"],
		["a name with an underscore", get("Content_Length: 5"), "GET / HTTP/1.1\r\nHost: t\r\nContent_Length: 5\r\n\r\n"],
		["fields named by Connection", get("Connection: x-a, , Cookie\r\nX-A: 1\r\nX_A: 2\r\nCookie: c"), clean],
		[
			"all hop-by-hop fields",
			get(
				"Keep-Alive: 1\r\nTE: trailers\r\nTrailer: a\r\nUpgrade: a\r\nProxy-Authorization: b\r\nProxy-Authenticate: c\r\nProxy-Connection: d",
			),
			clean,
		],
		[
			"an upgrade to HTTP/2",
			get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
			clean,
		],
		["an upgrade in HTTP/1.0", "GET / HTTP/1.0\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", clean],
		[
			"a chunked body with extensions and padding",
			post("Transfer-Encoding: chunked", "000003;a=b\r\nabc\r\n00\r\n\r\n"),
			"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		],
		[
			"trailers that would frame or route",
			post(
				"Transfer-Encoding: chunked",
				"0\r\nContent-Length: 9\r\nHost: u\r\nTransfer-Encoding: x\r\nAuthorization: y\r\nX-A: 1\r\n\r\n",
			),
			"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n",
		],
		[
			"leading zeros in a length",
			post("Content-Length: 0003", "abc"),
			"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0003\r\n\r\nabc",
		],
		[
			"a body with GET",
			"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
			"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
		],
	];
	it.each(accepted)("%s: the box gets exactly what it means", async (_name, request, received) => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(request).sees("ok");
		expect((await box.peer(0)).received).toBe(received);
	});

	it("means the same however it is cut in two", async () => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(box.port);
		const [, request, received] = accepted.find(([name]) => name.startsWith("trailers"))!;
		const client = await connect(port);
		for (let cut = 1; cut < request.length; cut++) {
			const before = client.receivedBytes;
			await new Promise((resolve) => client.socket.write(request.slice(0, cut), "latin1", resolve));
			client.write(request.slice(cut));
			await client.when("an answer", () => client.receivedBytes === before + OK.length);
		}
		const peers = box.peers.map((peer) => peer.received).join("");
		expect(peers).toBe(received.repeat(request.length - 1));
	});

	it("cannot slip an edited field past the decision by spelling it otherwise", async () => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(() =>
			proxyTo(box.port, { remove: ["x-runloop-tunnel-authorization"], set: [["x-real-ip", "9.9.9.9"]] }),
		);
		const client = await connect(port);
		await client
			.write(
				get(
					"X-REAL-IP: 1\r\nx_real_ip: 2\r\nX-Real_IP: 3\r\nX_Runloop_Tunnel_Authorization: 4\r\nx-runloop-tunnel-authorization: 5\r\nConnection: x-real-ip",
				),
			)
			.sees("ok");
		expect((await box.peer(0)).received).toBe("GET / HTTP/1.1\r\nHost: t\r\nx-real-ip: 9.9.9.9\r\n\r\n");
	});

	it("is answered the same when it comes byte by byte", async () => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(box.port);
		for (const [, request, status] of refused.filter(([, text]) => text.length < 200)) {
			const client = await connect(port);
			for (const byte of request) client.write(byte);
			// What is no line yet is not judged yet.
			client.write("\r\n\r\n\r\n");
			expect((await client.finished()).slice(0, 13), JSON.stringify(request)).toBe(`HTTP/1.1 ${status} `);
		}
		expect(box.peers).toHaveLength(0);
	});
});
