import { once } from "node:events";
import http from "node:http";
import net, { type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import {
	app,
	bytes,
	deferred,
	hostOf,
	listen,
	openDoor,
	rawApp,
	send,
	sendForText,
	until,
} from "./transport.fixture.js";

async function nobody(): Promise<number> {
	const server = net.createServer();
	const port = await listen(server);
	server.close();
	await once(server, "close");
	return port;
}

describe("the app", () => {
	test("that does not listen is 502, with the port and the way out", async () => {
		const door = await openDoor();
		const port = await nobody();
		const res = await send(door, port);
		expect(res.statusCode).toBe(502);
		const body = JSON.parse((await bytes(res)).toString());
		expect(body).toMatchObject({
			error: { code: "nothing_listening", message: expect.stringContaining(`port ${port}`) },
			request_id: res.headers["x-runloop-request-id"],
		});
	});

	test("that hangs up without an answer is 502", async () => {
		const door = await openDoor();
		const res = await send(door, await rawApp((socket) => socket.once("data", () => socket.destroy())));
		expect([res.statusCode, (await bytes(res)).toString()]).toEqual([
			502,
			expect.stringContaining("connection_closed"),
		]);
	});

	test("that does not speak HTTP is 502", async () => {
		const door = await openDoor();
		const res = await send(door, await rawApp((socket) => socket.write("SSH-2.0-OpenSSH_9\r\n")));
		expect([res.statusCode, (await bytes(res)).toString()]).toEqual([502, expect.stringContaining("bad_response")]);
	});

	test("that switches protocols unasked is 502", async () => {
		const door = await openDoor();
		const port = await rawApp((socket) =>
			socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
		);
		expect((await send(door, port)).statusCode).toBe(502);
	});

	test("whose head is too long is 502", async () => {
		const door = await openDoor({ limits: { maxResponseHeadBytes: 1024 } });
		const port = await rawApp((socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(4096)}\r\n\r\n`));
		expect((await send(door, port)).statusCode).toBe(502);
	});

	test("that does not answer in time is 504, and its connection ends", async () => {
		const door = await openDoor({ limits: { responseMs: 20 } });
		const closed = deferred<void>();
		const port = await rawApp((socket) =>
			socket
				.on("close", () => closed.resolve())
				.on("end", () => socket.end())
				.resume(),
		);
		expect((await send(door, port)).statusCode).toBe(504);
		await closed.promise;
		expect(door.tunnel.counts.failures.response_timeout).toBe(1);
	});

	test("that does not answer in time on a kept connection is not asked again", async () => {
		const door = await openDoor({ limits: { responseMs: 50 } });
		let asked = 0;
		const port = await app((_req, res) => {
			if (++asked === 1) res.end("ok");
		});
		expect(await sendForText(door, port)).toBe("ok");
		expect((await send(door, port)).statusCode).toBe(504);
		await until(() => door.tunnel.counts.liveRequests === 0);
		expect(await sendForText(door, await app((_req, res) => res.end("later")))).toBe("later");
		expect(asked).toBe(2);
	});

	test("that breaks off leaves the client with an error, not with a short body", async () => {
		const door = await openDoor();
		let response: http.ServerResponse | undefined;
		const port = await app((_req, res) => {
			response = res;
			res.write("half");
		});
		const res = await send(door, port);
		await once(res, "data");
		response!.destroy();
		await expect(bytes(res)).rejects.toThrow("aborted");
	});

	test("that restarts between two requests is not noticed", async () => {
		const door = await openDoor();
		const first = http.createServer((_req, res) => res.end("first"));
		const port = await listen(first);
		expect(await sendForText(door, port)).toBe("first");
		first.closeAllConnections();
		first.close();
		await once(first, "close");
		await listen(
			http.createServer((_req, res) => res.end("second")),
			port,
		);
		expect(await sendForText(door, port)).toBe("second");
	});
});

describe("a kept connection that dies under the next request", () => {
	/** Answers the first request of each connection, and cuts the connection at the second. */
	async function fickle(): Promise<{ port: number; seen: string[] }> {
		const seen: string[] = [];
		const port = await rawApp((socket) => {
			let count = 0;
			socket.on("data", (chunk) => {
				seen.push(chunk.toString().split(" ")[0]!);
				if (++count === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
				else socket.resetAndDestroy();
			});
		});
		return { port, seen };
	}

	test("is replaced for a request that may be repeated", async () => {
		const door = await openDoor();
		const { port, seen } = await fickle();
		expect(await sendForText(door, port)).toBe("ok");
		expect(await sendForText(door, port)).toBe("ok");
		expect(seen).toEqual(["GET", "GET", "GET"]);
	});

	test("is an error when the answer had begun", async () => {
		const door = await openDoor();
		let asked = 0;
		const port = await rawApp((socket) => {
			socket.on("data", () => {
				if (++asked === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
				else socket.end("HTTP/1.1 2");
			});
		});
		expect(await sendForText(door, port)).toBe("ok");
		expect((await send(door, port)).statusCode).toBe(502);
		expect(asked).toBe(2);
	});

	test.each<[string, string | undefined]>([
		["POST", undefined],
		["PUT", "body"],
	])("is an error for %s with body %j, which may have been done", async (method, body) => {
		const door = await openDoor();
		const { port, seen } = await fickle();
		expect(await sendForText(door, port)).toBe("ok");
		const res = await send(door, port, { method, ...(body === undefined ? {} : { body }) });
		expect(res.statusCode).toBe(502);
		expect(seen.filter((seenMethod) => seenMethod === method)).toHaveLength(1);
	});
});

describe("the client", () => {
	test("that leaves before the answer takes its request with it", async () => {
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
		req.destroy();
		await gone.promise;
		await until(() => door.lines.length > 0);
		expect(door.lines).toMatchObject([{ status: 499 }]);
	});

	test("that leaves during the answer ends it", async () => {
		const door = await openDoor();
		const gone = deferred<void>();
		const port = await app((_req, res) => {
			res.on("close", () => gone.resolve());
			res.write("x");
		});
		const res = await send(door, port);
		res.destroy();
		await gone.promise;
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

	test("whose upload nobody reads still gets the answer, and the connection behind it is not used again", async () => {
		const door = await openDoor();
		const sockets: Socket[] = [];
		const port = await app((req, res) => {
			sockets.push(req.socket);
			if (req.method === "POST") res.writeHead(401).end("no");
			else res.end("fine");
		});
		const req = http.request({
			port: door.port,
			method: "POST",
			headers: { host: hostOf(port), "content-length": 10 },
		});
		req.write("12345");
		const [res] = (await once(req, "response")) as [http.IncomingMessage];
		expect([res.statusCode, (await bytes(res)).toString()]).toEqual([401, "no"]);
		req.end("67890");
		expect(await sendForText(door, port)).toBe("fine");
		expect(new Set(sockets).size).toBe(2);
	});
});

describe("drop", () => {
	test("ends the devbox's requests: 502 before the answer, a break in it", async () => {
		const door = await openDoor();
		const port = await app((req, res) => {
			if (req.url === "/open") res.write("x");
		});
		const open = await send(door, port, { path: "/open" });
		const waiting = send(door, port, { path: "/waiting" });
		await until(() => door.tunnel.counts.liveRequests === 2);
		door.tunnel.drop("dbx_a");
		expect((await waiting).statusCode).toBe(502);
		await expect(bytes(open)).rejects.toThrow("aborted");
		expect(door.tunnel.counts.liveRequests).toBe(0);
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
	test("lets a running request finish and turns new ones away", async () => {
		const door = await openDoor();
		let response: http.ServerResponse | undefined;
		const port = await app((_req, res) => {
			response = res;
			res.write("a");
		});
		const res = await send(door, port);
		const closed = door.tunnel.close({ graceMs: 60_000 });
		const late = await send(door, port);
		expect([late.statusCode, late.headers["retry-after"]]).toEqual([503, "5"]);
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
