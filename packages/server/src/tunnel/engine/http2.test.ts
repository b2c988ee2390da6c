import { createHash, randomBytes } from "node:crypto";
import * as http2 from "node:http2";
import { describe, expect, it } from "vitest";
import { answer, ask, start } from "./http2.fixture.js";
import { answering, localResponse, proxyTo, rawServer, stalled } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

describe("HTTP/2", () => {
	it("is carried to the box as HTTP/1.1 with its fields in order", async () => {
		const box = await rawServer(answering(OK));
		const { session } = await start((request) => {
			expect(request).toMatchObject({
				method: "GET",
				target: "/a?b",
				authority: "t.example",
				secure: true,
				upgrade: false,
			});
			expect(request.header("cookie")).toBe("a=1; b=2");
			return proxyTo(box.port, { remove: ["x-secret"], set: [["x-real-ip", "9.9.9.9"]] });
		});
		const got = await ask(session, {
			":path": "/a?b",
			":authority": "t.example",
			"x-a": ["1", "2"],
			cookie: ["a=1", "b=2"],
			"x-secret": "s",
			"x-real-ip": "1.1.1.1",
			te: "trailers",
		});
		expect(got.headers[":status"]).toBe(200);
		expect(got.body.toString()).toBe("hello");
		expect((await box.peer(0)).received).toBe(
			"GET /a?b HTTP/1.1\r\nHost: t.example\r\nx-a: 1\r\nx-a: 2\r\ncookie: a=1; b=2\r\nx-real-ip: 9.9.9.9\r\n\r\n",
		);
	});

	it("shares the pool with HTTP/1.1 and carries many requests at once", async () => {
		const box = await rawServer(answering((head) => `HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${head.slice(5, 8)}`));
		const { session, engine } = await start(box.port);
		const names = Array.from({ length: 100 }, (_, i) => String(100 + i));
		const got = await Promise.all(names.map((name) => ask(session, { ":path": `/${name}` })));
		expect(got.map(({ body }) => body.toString())).toEqual(names);
		expect(engine.stats()).toMatchObject({ http2Requests: 0 });
		await ask(session, { ":path": "/1" });
		expect(box.peers.length).toBeLessThanOrEqual(100);
	});

	it("carries bodies of 5 MB both ways, with and without a length", async () => {
		const box = await rawServer((peer) => {
			let body = Buffer.alloc(0);
			peer.socket.on("data", () => {
				if (!peer.received.slice(-5000).includes("END!")) return;
				const all = Buffer.concat(peer.chunks);
				body = all.subarray(all.indexOf("\r\n\r\n") + 4);
				peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`).write(body);
			});
		});
		const { session } = await start(box.port);
		const body = Buffer.concat([randomBytes(5 * 1024 * 1024), Buffer.from("END!")]);
		const got = await ask(session, { ":method": "POST", "content-length": String(body.length) }, body);
		const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
		expect(hash(got.body)).toBe(hash(body));
		const chunked = await ask(session, { ":method": "POST" }, [Buffer.from("abc"), Buffer.from("END!")]);
		expect(chunked.body.toString()).toMatch(/abc[\s\S]*END!/);
	});

	it("frames requests without a body", async () => {
		const box = await rawServer(answering(OK));
		const { session } = await start(box.port);
		await ask(session, { ":method": "POST" });
		await ask(session, { ":method": "DELETE" });
		expect((await box.peer(0)).received).toBe(
			"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\nDELETE / HTTP/1.1\r\nHost: t\r\n\r\n",
		);
	});

	it("carries interim responses, duplicates and trailers, and no hop-by-hop fields", async () => {
		const box = await rawServer(
			answering(
				"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nConnection: x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
			),
		);
		const { session } = await start(box.port);
		const got = await ask(session, {});
		expect(got.interim).toEqual([103]);
		expect(got.headers).toMatchObject({ ":status": 200, "set-cookie": ["a", "b"] });
		expect(got.headers["x-hop"] ?? got.headers.connection ?? got.headers["transfer-encoding"]).toBeUndefined();
		expect(got.body.toString()).toBe("ok");
		expect(got.trailers).toMatchObject({ "x-t": "1" });
	});

	it.each([
		["an interim response", "HTTP/1.1 103 Early Hints\r\nFIELDS\r\n", "X-T: 1\r\n"],
		["trailers", "", "FIELDS"],
		["a head", "HTTP/1.1 200 OK\r\nFIELDSTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ""],
	])("does not end the daemon where a box puts what Node refuses into %s", async (_where, before, trailers) => {
		const refused = "HTTP2-Settings: x\r\nHost: a\r\nHost: b\r\nUser-Agent: a\r\nUser-Agent: b\r\nconstructor: c\r\n";
		const whole = `${before}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`;
		const box = await rawServer(answering(whole.replaceAll("FIELDS", refused)));
		const { session } = await start(box.port);
		const got = await ask(session, {});
		expect(got.headers[":status"]).toBe(200);
		expect(got.body.toString()).toBe("ok");
		expect(got.code).toBe(0);
		const told = { ...got.headers, ...got.trailers };
		if (trailers !== "X-T: 1\r\n") expect(told).toMatchObject({ "user-agent": "a", constructor: "c" });
		expect(told["http2-settings"]).toBeUndefined();
	});

	it("carries trailers of a request", async () => {
		const box = await rawServer((peer) =>
			peer.socket.on(
				"data",
				() => peer.received.endsWith("\r\n\r\n") && peer.received.includes("\r\n0\r\n") && peer.write(OK),
			),
		);
		const { session } = await start(box.port);
		const stream = session.request({ ":path": "/", ":method": "POST", ":authority": "t" }, { waitForTrailers: true });
		stream.on("wantTrailers", () => stream.sendTrailers({ "x-t": "1", authorization: "no" }));
		stream.end("abc");
		expect((await answer(stream)).body.toString()).toBe("hello");
		expect((await box.peer(0)).received).toMatch(/\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n$/);
	});

	it("gives HEAD, 204 and 304 no body", async () => {
		const box = await rawServer(
			answering((head) =>
				head.startsWith("HEAD")
					? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
					: `HTTP/1.1 ${head.slice(5, 8)} X\r\n\r\n`,
			),
		);
		const { session } = await start(box.port);
		expect((await ask(session, { ":method": "HEAD" })).headers).toMatchObject({
			":status": 200,
			"content-length": "5",
		});
		expect((await ask(session, { ":path": "/204" })).headers[":status"]).toBe(204);
		expect((await ask(session, { ":path": "/304" })).headers[":status"]).toBe(304);
	});

	it("gives local responses and failures", async () => {
		const { session, records } = await start((request) =>
			request.target === "/proxy" ? proxyTo(1) : localResponse(request.target === "/204" ? 204 : 404, "nö"),
		);
		const local = await ask(session, {});
		expect(local.headers).toMatchObject({ ":status": 404, "content-length": "3" });
		expect(local.body.toString()).toBe("nö");
		expect((await ask(session, { ":method": "HEAD" })).body.length).toBe(0);
		expect((await ask(session, { ":path": "/204" })).headers[":status"]).toBe(204);
		expect((await ask(session, { ":path": "/proxy" })).body.toString()).toBe("failed: refused");
		expect((await ask(session, { ":method": "POST" }, randomBytes(1000))).headers[":status"]).toBe(404);
		expect(records.map(({ status }) => status)).toEqual([404, 404, 204, 502, 404]);
	});

	it("gives a status that HTTP/2 cannot carry as a 502, and keeps the session", async () => {
		const box = await rawServer(answering((head) => `HTTP/1.1 ${head.slice(5, 8)} X\r\nContent-Length: 0\r\n\r\n`));
		const { session, records, unexpected } = await start(box.port);
		for (const status of ["600", "700", "999", "000", "099"]) {
			const got = await ask(session, { ":path": `/${status}` });
			expect(got.headers[":status"], status).toBe(502);
			expect(got.body.toString()).toBe("failed: bad_response");
			expect(got.code).toBe(0);
		}
		expect((await ask(session, { ":path": "/599" })).headers[":status"]).toBe(599);
		expect(records.map(({ outcome }) => outcome)).toEqual(Array(6).fill("completed"));
		expect(unexpected).toEqual([]);
	});

	it("refuses what HTTP/1.1 could not carry safely", async () => {
		const box = await rawServer(answering(OK));
		const { session } = await start(box.port);
		const cases: [http2.OutgoingHttpHeaders, number][] = [
			[{ ":path": "/#a" }, 400],
			[{ ":path": "a" }, 400],
			[{ ":path": "*" }, 400],
			[{ ":authority": "a@b" }, 400],
			[{ ":authority": "a,b" }, 400],
			[{ host: "u" }, 400],
			[Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`x-${i}`, "1"])), 431],
		];
		for (const [headers, status] of cases) {
			// What nghttp2 refuses by itself never reaches the engine.
			const got = await ask(session, headers);
			const refused = got.headers[":status"] ?? (got.code === http2.constants.NGHTTP2_PROTOCOL_ERROR ? 400 : 0);
			expect(refused, JSON.stringify(headers).slice(0, 50)).toBe(status);
		}
		expect(box.peers).toHaveLength(0);
	});

	it("resets the stream when a response breaks off, so that nobody takes it for whole", async () => {
		const bodies = ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "\r\nabc"];
		for (const body of bodies) {
			const box = await rawServer((peer) => peer.socket.once("data", () => peer.write(`HTTP/1.1 200 OK\r\n${body}`)));
			const { session, records } = await start(box.port);
			const stream = session.request({ ":path": "/", ":authority": "t" });
			stream.once("data", async () => (await box.peer(0)).socket.resetAndDestroy());
			const got = await answer(stream);
			// Of a body with a length, the client's own library may have noticed first.
			const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_PROTOCOL_ERROR } = http2.constants;
			expect([NGHTTP2_INTERNAL_ERROR, NGHTTP2_PROTOCOL_ERROR]).toContain(got.code);
			expect(records).toMatchObject([{ status: 200, outcome: "aborted" }]);
		}
	});

	it("tells the box when the client cancels", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.write("HTTP/1.1 200 OK\r\n\r\nabc")));
		const { session, engine } = await start(box.port);
		const stream = session.request({ ":path": "/", ":authority": "t" });
		stream.on("error", () => {});
		await new Promise((resolve) => stream.once("data", resolve));
		stream.close(http2.constants.NGHTTP2_CANCEL);
		await (await box.peer(0)).finished();
		expect(engine.stats()).toMatchObject({ http2Requests: 0, upstreams: 0 });
	});

	it("lets an early response end an upload", async () => {
		const box = await rawServer(answering("HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig"));
		const { session } = await start(box.port);
		const stream = session.request({ ":path": "/", ":method": "POST", ":authority": "t" });
		stream.write("abc");
		const got = await answer(stream);
		expect(got.headers[":status"]).toBe(413);
		expect(got.body.toString()).toBe("big");
		expect(got.code).toBe(http2.constants.NGHTTP2_NO_ERROR);
	});

	it("holds the box back when the client does not read", async () => {
		let written = 0;
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => {
				peer.write("HTTP/1.1 200 OK\r\n\r\n");
				const chunk = Buffer.alloc(64 * 1024);
				const more = () => {
					while (written < 256 * 1024 * 1024 && peer.socket.write(chunk)) written += chunk.length;
				};
				peer.socket.on("drain", more);
				more();
			}),
		);
		const { session } = await start(box.port);
		const stream = session.request({ ":path": "/", ":authority": "t" });
		stream.on("error", () => {});
		await new Promise((resolve) => stream.once("response", resolve));
		stream.pause();
		await stalled(() => written);
		expect(written).toBeLessThan(64 * 1024 * 1024);
	});
});
