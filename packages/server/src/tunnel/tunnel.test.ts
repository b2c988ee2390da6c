import { once } from "node:events";
import http from "node:http";
import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import {
	app,
	bytes,
	deferred,
	type Echoed,
	echo,
	hostOf,
	nobody,
	openDoor,
	rawApp,
	send,
	sendForText,
	sendRaw,
	until,
} from "./door.fixture.js";

const anId = expect.stringMatching(/^[0-9a-f-]{36}$/);
const secured = { authMode: "authenticated", token: "s3cret" } as const;

describe("request fields", () => {
	test("reach the app in order, case and number, with what the tunnel vouches for", async () => {
		const door = await openDoor();
		const port = await echo();
		const response = await sendRaw(
			door,
			`GET /p?q=1 HTTP/1.1\r\nhOST: ${hostOf(port)}\r\nX-B: 1\r\nx-a: 2\r\nX-b: 3\r\nX-Runloop-Request-Id: mine\r\nX-Real-IP: 6.6.6.6\r\nCookie: c\r\nForwarded: for=x\r\nX-Forwarded-Host: y\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: p\r\n\r\n`,
		);
		const got: Echoed = JSON.parse(response.slice(response.indexOf("{"), response.lastIndexOf("}") + 1));
		expect(got.url).toBe("/p?q=1");
		expect(got.raw).toEqual([
			...["hOST", hostOf(port), "X-B", "1", "x-a", "2", "X-b", "3", "Cookie", "c"],
			...["Forwarded", "for=x", "X-Forwarded-Host", "y", "x-runloop-request-id", anId],
			...["x-forwarded-for", "127.0.0.1", "x-real-ip", "127.0.0.1", "x-forwarded-proto", "http"],
		]);
	});

	test("carry the app's credential, not the tunnel's", async () => {
		const door = await openDoor({ target: secured });
		const headers = { "x-runloop-tunnel-authorization": "Bearer s3cret", authorization: "Bearer app" };
		const got = await sendForText(door, await echo(), { headers });
		expect(got).toContain("Bearer app");
		expect(got).not.toContain("s3cret");
	});
});

describe("response fields", () => {
	test("reach the client in order, case and number, without the hop's own and with our request id", async () => {
		const door = await openDoor();
		const port = await rawApp((socket) => {
			socket.end(
				"HTTP/1.1 418 I'm A Teapot\r\nSet-Cookie: a\r\nX-Mixed: 1\r\nset-cookie: b\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nX-Runloop-Request-Id: app\r\nDate: today\r\nServer: s\r\nContent-Length: 2\r\n\r\nok",
			);
		});
		const res = await send(door, port);
		expect([res.statusCode, res.statusMessage]).toEqual([418, "I'm A Teapot"]);
		expect(res.rawHeaders).toEqual([
			...["Set-Cookie", "a", "X-Mixed", "1", "set-cookie", "b", "Date", "today", "Server", "s"],
			...["Content-Length", "2", "x-runloop-request-id", anId, "Connection", "close"],
		]);
		expect((await bytes(res)).toString()).toBe("ok");
	});

	test.each([
		[
			"chunked",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Runloop-Request-Id: app\r\n\r\n",
		],
		["of an old server", "HTTP/1.0 200 OK\r\nx-runloop-request-id: app\r\n\r\nok"],
	])("name the request by the id that the app got, once: %s", async (_what, text) => {
		const door = await openDoor();
		const seen = deferred<string>();
		const port = await rawApp((socket) =>
			socket.once("data", (head) => {
				seen.resolve(/^x-runloop-request-id: (.*)\r$/m.exec(String(head))![1]!);
				socket.end(text);
			}),
		);
		const response = await sendRaw(door, `GET / HTTP/1.1\r\nHost: ${hostOf(port)}\r\nConnection: close\r\n\r\n`);
		expect(response.match(/x-runloop-request-id: .*/gi)).toEqual([`x-runloop-request-id: ${await seen.promise}`]);
		expect(response).toContain("ok");
	});

	test("an interim response has no id of its own", async () => {
		const door = await openDoor();
		const port = await app((_req, res) => {
			res.writeEarlyHints({ link: "</a.css>; rel=preload" });
			res.end();
		});
		const req = http.get({ port: door.port, headers: { host: hostOf(port) } });
		const [hints] = await once(req, "information");
		expect(hints.headers).toEqual({ link: "</a.css>; rel=preload" });
	});
});

test("an event reaches the client while the stream is open", async () => {
	const door = await openDoor();
	let stream: http.ServerResponse | undefined;
	const port = await app((_req, res) => {
		stream = res;
		res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
	});
	const res = await send(door, port);
	for (const event of ["data: one\n\n", "data: two\n\n"]) {
		stream!.write(event);
		expect(String((await once(res, "data"))[0])).toBe(event);
	}
	stream!.end();
});

describe("the log", () => {
	test("has a line per request, without query and credentials", async () => {
		const door = await openDoor({ target: secured });
		const port = await echo();
		const res = await send(door, port, {
			method: "POST",
			path: "/path?token=hunter2",
			headers: { authorization: "Bearer s3cret" },
			body: "12345",
		});
		const size = (await bytes(res)).length;
		await until(() => door.lines.length > 0);
		const { level, time, pid, hostname, msg, ...line } = door.lines[0]!;
		expect([level, msg]).toEqual([20, "tunnel request"]);
		expect(line).toEqual({
			requestId: res.headers["x-runloop-request-id"],
			devboxId: "dbx_a",
			method: "POST",
			status: 200,
			bytesIn: 5,
			bytesOut: size,
			durationMs: expect.any(Number),
			outcome: "proxied",
		});
		expect(JSON.stringify(door.lines)).not.toMatch(/hunter2|s3cret/);
		expect(door.tunnel.counts).toMatchObject({
			requests: { proxied: 1, local: 0, aborted: 0 },
			bytesIn: 5,
			bytesOut: size,
			live: { request: 0, upgrade: 0 },
		});
	});

	test("finds what Gangway answered by the id that the client was shown", async () => {
		const door = await openDoor({ target: secured });
		const res = await send(door, 80);
		expect(res.statusCode).toBe(401);
		await until(() => door.lines.length > 0);
		expect(door.lines).toMatchObject([
			{ requestId: res.headers["x-runloop-request-id"], status: 401, outcome: "local", bytesOut: 0 },
		]);
		expect(door.tunnel.counts.requests).toEqual({ proxied: 0, local: 1, aborted: 0 });
	});

	test("is silent above debug", async () => {
		const door = await openDoor({ level: "info" });
		await sendForText(door, await echo());
		await until(() => door.tunnel.counts.requests.proxied === 1);
		expect(door.lines).toEqual([]);
	});

	test("tells what should not happen, and the client only that it did", async () => {
		const door = await openDoor();
		door.directory.lookup = () => Promise.reject(new Error("the store is gone"));
		const res = await send(door, 80);
		expect([res.statusCode, await bytes(res).then(String)]).toEqual([500, expect.not.stringContaining("store")]);
		expect(door.lines[0]).toMatchObject({ level: 50, err: { message: "the store is gone" } });
	});
});

describe("activity", () => {
	test("is traffic, either way", async () => {
		const door = await openDoor();
		const chunks: http.ServerResponse[] = [];
		const port = await app((_req, res) => void chunks.push(res));
		const req = http.request({ port: door.port, method: "POST", headers: { host: hostOf(port) } });
		const answered = once(req, "response");
		req.flushHeaders();
		// A request that is being thought about keeps its box awake from when the box has it.
		await until(() => chunks.length === 1);
		let before = door.directory.active.length;
		const grows = () => until(() => door.directory.active.length > before);
		expect(before).toBeGreaterThan(0);
		req.write("x");
		await grows();
		before = door.directory.active.length;
		chunks[0]!.write("x");
		await grows();
		const [res] = (await answered) as [http.IncomingMessage];
		await once(res, "data");
		before = door.directory.active.length;
		chunks[0]!.write("x");
		await grows();
		req.destroy();
	});

	test.each([undefined, "a body"])("is not a request that reaches nobody (%s)", async (body) => {
		const door = await openDoor();
		const method = body === undefined ? "GET" : "POST";
		expect((await send(door, await nobody(), { method, ...(body && { body }) })).statusCode).toBe(502);
		expect(door.directory.active).toEqual([]);
	});

	test("is not what is refused", async () => {
		const door = await openDoor({ target: secured });
		expect((await send(door, await echo(), { method: "POST", body: "x" })).statusCode).toBe(401);
		expect(door.directory.active).toEqual([]);
	});
});

describe("the app", () => {
	test("that does not listen is 502, with the port and the way out", async () => {
		const door = await openDoor();
		const port = await nobody();
		const res = await send(door, port);
		expect(res.statusCode).toBe(502);
		expect(JSON.parse((await bytes(res)).toString())).toMatchObject({
			error: { code: "nothing_listening", message: expect.stringContaining(`port ${port}`) },
			request_id: res.headers["x-runloop-request-id"],
		});
	});

	test.each<[string, number, string, (socket: Socket) => void]>([
		["hangs up without an answer", 502, "connection_closed", (socket) => socket.once("data", () => socket.destroy())],
		["does not speak HTTP", 502, "bad_response", (socket) => socket.write("SSH-2.0-OpenSSH_9\r\n")],
		[
			"switches protocols unasked",
			502,
			"bad_response",
			(socket) => socket.write("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
		],
		[
			"has too long a head",
			502,
			"bad_response",
			(socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`),
		],
		["does not answer in time", 504, "response_timeout", (socket) => socket.resume()],
	])("that %s is %d %s", async (_what, status, code, handler) => {
		const door = await openDoor({ timeouts: { firstByte: 30, tick: 5 } });
		const res = await send(door, await rawApp((socket) => void handler(socket.on("end", () => socket.end()))));
		expect([res.statusCode, String(await bytes(res))]).toEqual([status, expect.stringContaining(code)]);
		expect(door.tunnel.counts.upstreams).toBe(0);
	});

	test("that does not answer in time on a kept connection is not asked again", async () => {
		const door = await openDoor({ timeouts: { firstByte: 50, tick: 5 } });
		let asked = 0;
		const port = await app((_req, res) => {
			if (++asked === 1) res.end("ok");
		});
		expect(await sendForText(door, port)).toBe("ok");
		expect((await send(door, port)).statusCode).toBe(504);
		expect(asked).toBe(2);
	});

	test("whose kept connection dies under the next request is asked again where that does no harm", async () => {
		const door = await openDoor();
		const seen: string[] = [];
		const port = await rawApp((socket) => {
			let count = 0;
			socket.on("data", (chunk) => {
				seen.push(chunk.toString().split(" ")[0]!);
				if (++count === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
				else socket.resetAndDestroy();
			});
		});
		expect(await sendForText(door, port)).toBe("ok");
		expect(await sendForText(door, port)).toBe("ok");
		expect(seen).toEqual(["GET", "GET", "GET"]);
		expect((await send(door, port, { method: "POST" })).statusCode).toBe(502);
		expect(seen).toEqual(["GET", "GET", "GET", "POST"]);
	});
});

describe("the client", () => {
	test("that leaves before the answer takes its request with it, and is counted", async () => {
		const door = await openDoor();
		const gone = deferred<void>();
		const arrived = deferred<void>();
		const port = await app((req) => {
			req.socket.once("close", () => gone.resolve());
			arrived.resolve();
		});
		const req = http.get({ port: door.port, headers: { host: hostOf(port) } });
		req.on("error", () => {});
		await arrived.promise;
		expect(door.tunnel.counts.live.request).toBe(1);
		req.socket!.resetAndDestroy();
		await gone.promise;
		await until(() => door.lines.length > 0);
		expect(door.lines).toMatchObject([{ status: 0, outcome: "aborted", devboxId: "dbx_a" }]);
		expect(door.tunnel.counts).toMatchObject({ requests: { aborted: 1 }, live: { request: 0 } });
	});

	test.each<http.OutgoingHttpHeaders>([{ "content-length": 100 }, { "transfer-encoding": "chunked" }])(
		"that leaves during its upload (%j) leaves the app with an error, not with a short body",
		async (headers) => {
			const door = await openDoor();
			const outcome = deferred<string>();
			const arrived = deferred<void>();
			const port = await app((req) => {
				req.once("data", () => arrived.resolve());
				req.once("end", () => outcome.resolve("end"));
				req.once("aborted", () => outcome.resolve("aborted"));
			});
			const req = http.request({ port: door.port, method: "POST", headers: { host: hostOf(port), ...headers } });
			req.on("error", () => {});
			req.write("some");
			await arrived.promise;
			req.destroy();
			expect(await outcome.promise).toBe("aborted");
		},
	);
});

describe("drop", () => {
	test("ends the devbox's requests: 502 before the answer, a break in it", async () => {
		const door = await openDoor();
		const port = await app((req, res) => {
			if (req.url === "/open") res.write("x");
		});
		const open = await send(door, port, { path: "/open" });
		const waiting = send(door, port, { path: "/waiting" });
		await until(() => door.tunnel.counts.live.request === 2 && door.directory.active.length > 2);
		door.tunnel.drop("dbx_a");
		expect((await waiting).statusCode).toBe(502);
		await expect(bytes(open)).rejects.toThrow("aborted");
		expect(door.tunnel.counts.live.request).toBe(0);
	});

	test("ends a request, too, that is on its way to the box, let in by what was true a moment ago", async () => {
		const door = await openDoor();
		const port = await app((_req, res) => res.end("ok"));
		const lookup = door.directory.lookup.bind(door.directory);
		door.directory.lookup = async (key) => {
			const found = await lookup(key);
			queueMicrotask(() => door.tunnel.drop("dbx_a"));
			return found;
		};
		expect((await send(door, port)).statusCode).toBe(502);
	});

	test("leaves other devboxes alone, and forgets idle connections", async () => {
		const door = await openDoor();
		const sockets = new Set<Socket>();
		const port = await app((req, res) => {
			sockets.add(req.socket);
			res.end("ok");
		});
		await sendForText(door, port);
		door.tunnel.drop("dbx_b");
		await sendForText(door, port);
		expect(sockets.size).toBe(1);
		door.tunnel.drop("dbx_a");
		await sendForText(door, port);
		expect(sockets.size).toBe(2);
	});
});

describe("close", () => {
	test("lets a running request finish and turns new connections away", async () => {
		const door = await openDoor();
		let response: http.ServerResponse | undefined;
		const port = await app((_req, res) => {
			response = res;
			res.write("a");
		});
		const res = await send(door, port);
		const closed = door.tunnel.close({ graceMs: 60_000 });
		await expect(send(door, port)).rejects.toThrow(/ECONNRESET|hang up/);
		response!.end("b");
		expect((await bytes(res)).toString()).toBe("ab");
		await closed;
	});

	test("ends what outlasts the grace, and may be called twice", async () => {
		const door = await openDoor();
		const res = await send(door, await app((_req, response) => void response.write("a")));
		await Promise.all([door.tunnel.close({ graceMs: 1 }), door.tunnel.close({ graceMs: 1 })]);
		await expect(bytes(res)).rejects.toThrow("aborted");
	});
});
