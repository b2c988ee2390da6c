import { describe, expect, it } from "vitest";
import type { RequestInfo } from "../decision.js";
import { answering, ask, connect, localResponse, proxyTo, rawServer, startEngine } from "./testing.fixture.js";
import { isSecure } from "./transport.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

describe("forwarding", () => {
	it("keeps order, case, spacing and duplicates of fields, and drops hop-by-hop ones", async () => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(() =>
			proxyTo(box.port, { remove: ["x-secret"], set: [["x-forwarded-for", "9.9.9.9"]] }),
		);
		const client = await connect(port);
		client.write(
			"GET /a?b=c HTTP/1.1\r\nhOST: t.example\r\nX-A:  1 \r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\n" +
				"TE: trailers\r\nx-a: 2\r\nX-Secret: s\r\nX-FORWARDED-For: 1.1.1.1\r\nX_Forwarded_For: 2.2.2.2\r\nProxy-Connection: x\r\nUpgrade: foo\r\nCookie: a=b\r\n\r\n",
		);
		await client.sees("hello");
		expect((await box.peer(0)).received).toBe(
			"GET /a?b=c HTTP/1.1\r\nhOST: t.example\r\nX-A:  1 \r\nx-a: 2\r\nCookie: a=b\r\nx-forwarded-for: 9.9.9.9\r\n\r\n",
		);
	});

	it("forwards a response with its own fields and without hop-by-hop ones", async () => {
		const box = await rawServer(
			answering(
				"HTTP/1.1 200 Fine, thanks\r\nset-cookie: a=1\r\nConnection: keep-alive, x-b\r\nX-B: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
			),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n").sees("ok");
		expect(client.received).toBe(
			"HTTP/1.1 200 Fine, thanks\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
		);
	});

	it("turns absolute-form into origin-form and keeps OPTIONS *", async () => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write("GET http://T.example/x?y HTTP/1.1\r\nHost: t.example\r\n\r\n").sees("hello");
		await client.write("GET http://t.example?y HTTP/1.1\r\nHost: t.example\r\n\r\n");
		await client.write("OPTIONS * HTTP/1.1\r\nHost: t.example\r\n\r\n");
		await client.when("three responses", () => client.received.split("hello").length === 4);
		const lines = (await box.peer(0)).received.split("\r\n").filter((line) => line.endsWith("HTTP/1.1"));
		expect(lines).toEqual(["GET /x?y HTTP/1.1", "GET /?y HTTP/1.1", "OPTIONS * HTTP/1.1"]);
	});

	it("asks the decision with what came, once per request, at once or later", async () => {
		const box = await rawServer(answering(OK));
		const seen: RequestInfo[] = [];
		const { port } = await startEngine(async (request) => {
			await Promise.resolve();
			seen.push({ ...request, header: (name) => request.header(name) } as RequestInfo);
			expect(request.header("x-a")).toBe("1, 2");
			expect(request.header("x-none")).toBeUndefined();
			expect(request).toMatchObject({
				method: "PUT",
				target: "/p?q",
				authority: "t:80",
				secure: isSecure(),
				upgrade: false,
			});
			expect(request.peerAddress).toMatch(/127\.0\.0\.1$/);
			return proxyTo(box.port);
		});
		const client = await connect(port);
		await client
			.write("PUT /p?q HTTP/1.1\r\nHost: t:80\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc")
			.sees("hello");
		expect(seen).toHaveLength(1);
		expect((await box.peer(0)).received).toContain("\r\n\r\nabc");
	});

	it("gives local responses, with and without a body, and keeps the connection", async () => {
		const { port, records } = await startEngine((request) => localResponse(404, `no ${request.target} ü`));
		const client = await connect(port);
		client.write(
			"GET /a HTTP/1.1\r\nHost: t\r\n\r\nHEAD /b HTTP/1.1\r\nHost: t\r\n\r\nGET /c HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
		);
		const text = Buffer.from(await client.finished(), "latin1").toString();
		expect(text).toMatch(/no \/a ü/);
		expect(text).not.toContain("no /b");
		expect(text).toMatch(/Content-Length: 8\r\nConnection: close\r\n\r\nno \/c ü$/);
		expect(records.map(({ status, method }) => [status, method])).toEqual([
			[404, "GET"],
			[404, "HEAD"],
			[404, "GET"],
		]);
	});

	it("answers 500 when the decision throws or rejects, and goes on", async () => {
		const { port, unexpected } = await startEngine((request) => {
			if (request.target === "/a") throw new TypeError("a");
			return Promise.reject(new TypeError("b"));
		});
		const client = await connect(port);
		client.write("GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
		expect((await client.finished()).match(/HTTP\/1\.1 500/g)).toHaveLength(2);
		expect(unexpected).toHaveLength(2);
	});

	it("refuses to forward a field value that would break the head", async () => {
		const box = await rawServer(answering(OK));
		const { port, unexpected } = await startEngine(() => proxyTo(box.port, { set: [["x-a", "1\r\nx-b: 2"]] }));
		expect(await ask(port, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")).toContain("HTTP/1.1 500");
		expect(unexpected).toHaveLength(1);
		expect(box.peers).toHaveLength(0);
	});
});

describe("connections", () => {
	it("reuses client and upstream connections", async () => {
		const box = await rawServer(answering(OK));
		const { port, engine } = await startEngine(box.port);
		const client = await connect(port);
		for (let i = 1; i <= 3; i++) {
			client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
			await client.when(`${i} responses`, () => client.received.split("hello").length === i + 1);
		}
		expect(box.peers).toHaveLength(1);
		expect(engine.stats()).toMatchObject({ clients: 1, upstreams: 1, idleUpstreams: 1 });
	});

	it("answers pipelined requests in order, even when bodies and slow answers mix", async () => {
		const box = await rawServer(
			answering((head) => {
				// What ends with an empty line may also be the end of a chunked body.
				const path = / (\/p\d) HTTP/.exec(head)?.[1];
				if (path === undefined) return undefined;
				return `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
			}),
		);
		const { port } = await startEngine(async (request) => {
			if (request.target === "/p2") await new Promise((resolve) => setImmediate(resolve));
			return request.target === "/p3" ? localResponse(200, "/local") : proxyTo(box.port);
		});
		const client = await connect(port);
		client.write(
			"GET /p1 HTTP/1.1\r\nHost: t\r\n\r\nPOST /p2 HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabcGET /p3 HTTP/1.1\r\nHost: t\r\n\r\n" +
				"POST /p4 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /p5 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
		);
		const text = await client.finished();
		expect(text.match(/\/(?:p[0-9]|local)/g)).toEqual(["/p1", "/p2", "/local", "/p4", "/p5"]);
	});

	it("closes after Connection: close and tells so", async () => {
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(box.port);
		const text = await ask(port, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
		expect(text).toBe("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	});

	it("does not reuse an upstream connection that the box wants closed, or that holds more than was asked for", async () => {
		const answers = [
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
			"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nb",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ncHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
			"HTTP/1.1 204 No Content\r\n\r\nevil",
			OK,
		];
		const box = await rawServer((peer, index) => answering(answers[index]!)(peer));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		for (let i = 1; i <= 5; i++) {
			client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
			await client.when(`response ${i}`, () => client.received.split("HTTP/1.1 20").length === i + 1);
		}
		await client.sees("hello");
		expect(client.received).not.toContain("evil");
		expect(box.peers).toHaveLength(5);
	});

	it("speaks HTTP/1.0 with a client that does", async () => {
		const answers: Record<string, string> = {
			"/length": OK,
			"/chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
		};
		const box = await rawServer(answering((head) => answers[head.split(" ")[1]!]));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client
			.write("GET /length HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n")
			.sees("hello");
		expect(client.received).toContain("Connection: keep-alive\r\n");
		client.write("GET /chunked HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n");
		expect((await client.finished()).split("hello")[1]).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde");
		expect((await box.peer(0)).received).not.toMatch(/HTTP\/1\.0|Expect/);
	});
});

describe("framing", () => {
	const cases: [name: string, method: string, response: string, forwarded: string][] = [
		[
			"HEAD with a length",
			"HEAD",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		],
		["HEAD with chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"],
		["204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"],
		[
			"304",
			"GET",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
		],
		[
			"a zero length",
			"GET",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		],
		[
			"chunked with trailers",
			"GET",
			"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\nContent-Length: 4\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n",
		],
	];
	it.each(cases)("%s", async (_name, method, response, forwarded) => {
		const box = await rawServer(answering(response));
		const { port, engine } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(`${method} / HTTP/1.1\r\nHost: t\r\n\r\n`).sees(forwarded.slice(-8));
		expect(client.received).toBe(forwarded);
		expect(engine.stats().idleUpstreams).toBe(1);
	});

	it("re-frames a body that ends with the connection as chunked", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", async () => {
				peer.write("HTTP/1.1 200 OK\r\n\r\nab");
				await client.sees("ab\r\n");
				peer.end("cd");
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n").sees("0\r\n\r\n");
		expect(client.received).toBe(
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
		);
	});

	it("forwards interim responses, and 100-continue end to end", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", async () => {
				peer.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
				await peer.sees("body!");
				peer.write(OK);
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client
			.write("POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			.sees("100 Continue\r\n\r\n");
		expect((await box.peer(0)).received).toContain("Expect: 100-continue\r\n");
		await client.write("body!").sees("hello");
		expect(client.received).toMatch(
			/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/,
		);
	});

	it("sends chunked request bodies with trailers on as chunked", async () => {
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => peer.received.endsWith("X-T: 1\r\n\r\n") && peer.write(OK)),
		);
		const { port } = await startEngine(() => proxyTo(box.port, { remove: ["x-secret"] }));
		const client = await connect(port);
		client.write("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n");
		await (await box.peer(0)).sees("2\r\nab\r\n");
		await client
			.write(
				"1\r\nc\r\n0\r\nX-T: 1\r\nX-Secret: 2\r\nHost: evil\r\n\r\n".replace(
					"X-T: 1\r\nX-Secret: 2\r\nHost: evil",
					"X-Secret: 2\r\nHost: evil\r\nX-T: 1",
				),
			)
			.sees("hello");
		expect((await box.peer(0)).received).toBe(
			"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n",
		);
	});

	it("lets a final response pass an unfinished upload, then closes both", async () => {
		const box = await rawServer(answering("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"));
		const { port, records } = await startEngine(box.port);
		const client = await connect(port);
		client.write("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\nsome");
		const text = await client.finished();
		expect(text).toBe("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
		await (await box.peer(0)).finished();
		expect(records).toMatchObject([{ status: 413, outcome: "completed", bytesFromClient: 4, bytesToClient: 3 }]);
	});
});

describe("ends and aborts", () => {
	it("tells the box at once when the client is gone", async () => {
		const box = await rawServer();
		const { port, records } = await startEngine(box.port);
		const client = await connect(port);
		client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
		const peer = await box.peer(0);
		await peer.sees("\r\n\r\n");
		client.socket.resetAndDestroy();
		await peer.finished();
		expect(records).toMatchObject([{ status: 0, outcome: "aborted" }]);
	});

	it("passes a client's half-close on and still delivers the response", async () => {
		const box = await rawServer((peer) => peer.socket.on("end", () => peer.end(OK)));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		client.end("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
		expect(await client.finished()).toMatch(/Connection: close\r\n\r\nhello$/);
	});

	it("refuses a request whose body ends early", async () => {
		const box = await rawServer();
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		client.end("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
		expect(await client.finished()).toMatch(/^HTTP\/1\.1 400 /);
		await (await box.peer(0)).finished();
	});

	it("breaks the response off when the box does, so that nobody takes it for whole", async () => {
		const bodies = ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"];
		for (const body of bodies) {
			const box = await rawServer((peer) => peer.socket.once("data", () => peer.end(`HTTP/1.1 200 OK\r\n${body}`)));
			const { port, records } = await startEngine(box.port);
			const text = await ask(port, "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
			expect(text).toMatch(/abc(\r\n)?$/);
			expect(records).toMatchObject([{ status: 200, outcome: "aborted" }]);
		}
	});

	it("resets an HTTP/1.0 client whose response breaks off, since nothing else would tell it", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", async () => {
				peer.write("HTTP/1.1 200 OK\r\n\r\nabc");
				await client.sees("abc");
				peer.socket.resetAndDestroy();
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write("GET / HTTP/1.0\r\nHost: t\r\n\r\n").finished();
		// Over TLS, it is the close_notify that is missing.
		expect(client.reset).toBe(!isSecure());
	});
});
