/** Responses of a box that wants to be misunderstood, and what the client gets of them: byte for byte. */
import { describe, expect, it } from "vitest";
import { answering, ask, connect, rawServer, startEngine } from "./testing.fixture.js";

const head = (fields: string, body = "") => `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n${body}`;
const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

const bad: [name: string, response: string][] = [
	["length and coding", head("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n")],
	["coding and length", head("Transfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n")],
	["two different lengths", head("Content-Length: 3\r\nContent-Length: 4", "abc")],
	["two equal lengths", head("Content-Length: 3\r\nContent-Length: 3", "abc")],
	["a list of lengths", head("Content-Length: 3, 3", "abc")],
	["a negative length", head("Content-Length: -1", "abc")],
	["a signed length", head("Content-Length: +3", "abc")],
	["a hexadecimal length", head("Content-Length: 0x3", "abc")],
	["an empty length", head("Content-Length:", "abc")],
	["an overflowing length", head("Content-Length: 18446744073709551619", "abc")],
	["another coding", head("Transfer-Encoding: gzip", "abc")],
	["a coding before chunked", head("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")],
	["chunked twice", head("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")],
	["two codings", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")],
	["a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
	["bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"],
	["a bare LF in a field", head("A: b\nSet-Cookie: evil=1", "")],
	["a bare CR in a field", head("A: b\rSet-Cookie: evil=1", "")],
	["a folded field", head("A: b\r\n Set-Cookie: evil=1", "")],
	["a space before the colon", head("Content-Length : 3", "abc")],
	["a NUL in a value", head("A: b\0c")],
	["a control character in a value", head("A: \x08")],
	["a name that is no token", head("A b: c")],
	["no name", head(": c")],
	["no colon", head("evil")],
	["another version", "HTTP/1.2 200 OK\r\n\r\n"],
	["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"],
	["HTTP/0.9", "<html>evil</html>\r\n\r\n"],
	["another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
	["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
	["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
	["a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n"],
	["status 0", "HTTP/1.1 000 OK\r\n\r\n"],
	["status 600", "HTTP/1.1 600 OK\r\nContent-Length: 4\r\n\r\nevil"],
	["status 999", "HTTP/1.1 999 Request Denied\r\nContent-Length: 4\r\n\r\nevil"],
	["a tab after the version", "HTTP/1.1\t200 OK\r\n\r\n"],
	["a bare LF after the status", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
	["a NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"],
	["an empty line before", `\r\n${EVIL}`],
	[
		"a switch that nobody asked for",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	],
	["101 fields", head("a: b\r\n".repeat(100).concat("a: b"))],
	["17 KiB of fields", head(`a: ${"b".repeat(17 * 1024)}`)],
	["17 KiB of reason", `HTTP/1.1 200 ${"a".repeat(17 * 1024)}\r\n\r\n`],
	["interim responses without end", "HTTP/1.1 102 Processing\r\n\r\n".repeat(100)],
	["a broken chunk size at once", head("Transfer-Encoding: chunked", "x\r\nabc\r\n")],
	["a bare LF after a chunk size", head("Transfer-Encoding: chunked", "3\nabc\r\n0\r\n\r\n")],
	["a chunk with more data than its size", head("Transfer-Encoding: chunked", "3\r\nabcd\r\n0\r\n\r\n")],
	["a broken trailer", head("Transfer-Encoding: chunked", "0\r\nA : b\r\n\r\n")],
];

describe("a hostile response", () => {
	it.each(bad)("%s: is a 502, and none of it is forwarded", async (_name, response) => {
		const box = await rawServer(answering(response));
		const { port, engine } = await startEngine(box.port);
		const text = await ask(port, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
		const own = text.slice(text.lastIndexOf("HTTP/1.1 502 "));
		expect(own).toMatch(
			/^HTTP\/1\.1 502 Bad Gateway\r\nDate: [^\r\n]+\r\nContent-Type: text\/plain\r\nContent-Length: 20\r\nConnection: close\r\n\r\nfailed: bad_response$/,
		);
		// Sound interim responses before it are the only thing that may have passed.
		expect(text.slice(0, -own.length).replaceAll("HTTP/1.1 102 Processing\r\n\r\n", "")).toBe("");
		expect(engine.stats().upstreams).toBe(0);
	});

	it("counts what it is asked to", () => expect(bad.length).toBeGreaterThanOrEqual(30));

	const cut: [name: string, response: string, forwarded: string][] = [
		["more than its length", head("Content-Length: 2", `ok${EVIL}`), head("Content-Length: 2", "ok")],
		["a body with 204", `HTTP/1.1 204 No Content\r\n\r\n${EVIL}`, "HTTP/1.1 204 No Content\r\n\r\n"],
		[
			"a length with 204",
			`HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil`,
			"HTTP/1.1 204 No Content\r\n\r\n",
		],
		[
			"a body with 304",
			`HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil`,
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
		],
		[
			"more after the last chunk",
			head("Transfer-Encoding: chunked", `2\r\nok\r\n0\r\n\r\n${EVIL}`),
			head("Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
		],
		[
			"extensions and trailers",
			head(
				"Transfer-Encoding: chunked",
				"2;evil=1\r\nok\r\n0\r\nContent-Length: 4\r\nSet-Cookie: evil\r\nConnection: close\r\nX-T: 1\r\n\r\n",
			),
			head("Transfer-Encoding: chunked", "2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"),
		],
		[
			"hop-by-hop fields",
			head(
				"Proxy-Authenticate: Basic\r\nUpgrade: evil\r\nConnection: x-evil\r\nX-Evil: 1\r\nX_Evil: 1\r\nKeep-Alive: timeout=0\r\nContent-Length: 2",
				"ok",
			),
			head("Content-Length: 2", "ok"),
		],
	];
	it.each(cut)(
		"%s: exactly the sound part is forwarded, and the next request is not answered by the rest",
		async (_name, response, forwarded) => {
			let asked = 0;
			const box = await rawServer(answering(() => (asked++ === 0 ? response : head("Content-Length: 4", "next"))));
			const { port } = await startEngine(box.port);
			const client = await connect(port);
			client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
			await client.when("the first response", () => client.received.length >= forwarded.length);
			await client.write("GET /2 HTTP/1.1\r\nHost: t\r\n\r\n").sees("next");
			expect(client.received.replace("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext", "")).toBe(forwarded);
		},
	);

	it("that breaks after its head has left is cut off, not completed", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", async () => {
				peer.write(head("Transfer-Encoding: chunked", "3\r\nabc\r\n"));
				await client.sees("abc");
				peer.write("evil\r\n0\r\n\r\n");
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n").finished();
		expect(client.received).toBe(head("Transfer-Encoding: chunked", "3\r\nabc\r\n"));
	});

	it("that nobody asked for is not kept for the next request", async () => {
		const box = await rawServer((peer, index) => {
			answering(head("Content-Length: 2", "ok"))(peer);
			if (index === 0) peer.socket.once("data", () => setImmediate(() => peer.write(EVIL)));
		});
		const { port, engine } = await startEngine(box.port);
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n").sees("ok");
		await (await box.peer(0)).finished();
		expect(engine.stats().upstreams).toBe(0);
		client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
		await client.when("two responses", () => client.received.split("HTTP/1.1 200 OK").length === 3);
		expect(client.received).not.toContain("evil");
		expect(box.peers).toHaveLength(2);
	});

	it("is judged the same when it comes byte by byte", async () => {
		for (const [, response] of bad.filter(([, text]) => text.length < 200)) {
			const box = await rawServer((peer) =>
				peer.socket.once("data", () => {
					for (const byte of response) peer.write(byte);
					peer.end("\r\n\r\n");
				}),
			);
			const { port } = await startEngine(box.port);
			const text = await ask(port, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
			// Chunks that came before the broken one were sound when they were forwarded.
			if (!response.includes("\r\nTransfer-Encoding: chunked\r\n\r\n")) {
				expect(text, JSON.stringify(response)).toMatch(/^HTTP\/1\.1 502 [\s\S]*failed: bad_response$/);
			} else expect(text).not.toMatch(/\r\n0\r\n/);
		}
	});
});
