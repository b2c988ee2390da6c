import * as net from "node:net";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { answering, ask, cleanup, connect, localResponse, Peer, rawServer, startEngine } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
const OFF = { head: 0, keepAlive: 0, idleBody: 0, connect: 0, firstByte: 0, pooled: 0, idleUpgrade: 0, tick: 10 };

describe("timeouts", () => {
	it("head: a connection that says nothing is closed, one that says half is told", async () => {
		const { port } = await startEngine(() => localResponse(200, ""), { timeouts: { ...OFF, head: 30 } });
		expect(await ask(port, "")).toBe("");
		expect(await ask(port, "GET / HTTP/1.1\r\n")).toMatch(/^HTTP\/1\.1 408 /);
	});

	it("head: dripping bytes do not extend it", async () => {
		const { port } = await startEngine(() => localResponse(200, ""), { timeouts: { ...OFF, head: 60 } });
		const client = await connect(port);
		client.write("GET / HTTP/1.1\r\n");
		const drip = setInterval(() => client.write("a: b\r\n"), 5);
		await client.sees("408").finally(() => clearInterval(drip));
	});

	it("keepAlive: a connection between requests is closed", async () => {
		const { port } = await startEngine(() => localResponse(200, "hello"), { timeouts: { ...OFF, keepAlive: 30 } });
		const client = await connect(port);
		expect(await client.write(GET).finished()).toMatch(/hello$/);
	});

	it("idleBody: a stalled upload is 408, and the box learns of it", async () => {
		const box = await rawServer();
		const { port } = await startEngine(box.port, { timeouts: { ...OFF, idleBody: 30 } });
		expect(await ask(port, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc")).toMatch(/^HTTP\/1\.1 408 /);
		await (await box.peer(0)).finished();
	});

	it("idleBody: a stalled response is broken off", async () => {
		const box = await rawServer(answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"));
		const { port, records } = await startEngine(box.port, { timeouts: { ...OFF, idleBody: 30 } });
		expect(await ask(port, GET)).toMatch(/abc$/);
		await (await box.peer(0)).finished();
		expect(records).toMatchObject([{ outcome: "aborted" }]);
	});

	it("idleBody: does not count while the box thinks, nor between events that come in time", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => {
				let events = 0;
				const timer = setInterval(() => {
					peer.write(events++ === 0 ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" : "1\r\nx\r\n");
					if (events === 6) peer.write("0\r\n\r\n");
					if (events === 6) clearInterval(timer);
				}, 40);
			}),
		);
		const { port } = await startEngine(box.port, { timeouts: { ...OFF, idleBody: 90 } });
		const client = await connect(port);
		await client.write(GET).sees("0\r\n\r\n");
		expect(client.received.match(/x/g)).toHaveLength(5);
	});

	it("firstByte: a box that does not answer", async () => {
		const box = await rawServer();
		const { port } = await startEngine(box.port, { timeouts: { ...OFF, firstByte: 30 } });
		const client = await connect(port);
		await client.write(GET).sees("failed: response_timeout");
		await (await box.peer(0)).finished();
	});

	it("halfClosed: a client that has sent its end is not waited with for ever", async () => {
		const box = await rawServer();
		const { port, engine } = await startEngine(box.port, { timeouts: { ...OFF, halfClosed: 30 } });
		const client = await connect(port);
		client.write(GET);
		await (await box.peer(0)).sees("\r\n\r\n");
		client.socket.destroy();
		await (await box.peer(0)).finished();
		while (engine.stats().clients + engine.stats().upstreams > 0) await new Promise((resolve) => setImmediate(resolve));
	});

	it("halfClosed: a client that has left behind another request is not waited with for ever", async () => {
		const box = await rawServer();
		const { port, engine } = await startEngine(box.port, { timeouts: { ...OFF, halfClosed: 30 } });
		const client = await connect(port);
		client.write(GET + GET).end();
		await client.sees("408");
		client.socket.destroy();
		while (engine.stats().clients + engine.stats().upstreams > 0) await new Promise((resolve) => setImmediate(resolve));
	});

	it("idleBody: nor is one whose requests fill the buffer, since it could not be seen to leave", async () => {
		const box = await rawServer();
		const options = { timeouts: { ...OFF, idleBody: 30 }, limits: { pipelinedBytes: 100 } };
		const { port, engine } = await startEngine(box.port, options);
		const client = await connect(port);
		client.write(GET);
		await (await box.peer(0)).sees("\r\n\r\n");
		// Not a second request is begun: nobody was there to wait for the first.
		expect(await client.write(GET.repeat(50)).finished()).toMatch(/^HTTP\/1\.1 408 [\s\S]*Connection: close/);
		client.socket.destroy();
		while (engine.stats().clients + engine.stats().upstreams > 0) await new Promise((resolve) => setImmediate(resolve));
		expect(box.peers).toHaveLength(1);
	});

	it("idleBody: nor is an upgraded one that the box does not read, and one that it reads lives on", async () => {
		const box = await rawServer((peer, index) => {
			peer.socket.once("data", () => {
				peer.write("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
				if (index === 0) peer.socket.pause();
			});
		});
		const { port, engine } = await startEngine(box.port, { timeouts: { ...OFF, idleBody: 500 } });
		const upgrade = "GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";
		const [stuck, read] = [await connect(port), await connect(port)];
		await stuck.write(upgrade).sees("101");
		await read.write(upgrade).sees("101");
		const much = Buffer.alloc(16 * 1024 * 1024);
		stuck.write(much);
		read.write(much);
		await (await box.peer(1)).when("all of it", () => box.peers[1]!.receivedBytes > much.length);
		await stuck.gone();
		while (engine.stats().clients > 1) await new Promise((resolve) => setImmediate(resolve));
		box.peers[1]!.write("still here");
		await read.sees("still here");
	});

	it("connect: a box that does not accept", async () => {
		// A listener whose thread sleeps: once its queue is full, the kernel lets connections wait.
		const worker = new Worker(
			`const { parentPort } = require("node:worker_threads");
			const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
				parentPort.postMessage(server.address().port);
				setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
			});`,
			{ eval: true },
		);
		cleanup(async () => {
			await worker.terminate();
		});
		const box = await new Promise<number>((resolve) => worker.once("message", resolve));
		const queue = Array.from({ length: 8 }, () => net.connect(box, "127.0.0.1").on("error", () => {}));
		cleanup(() => {
			for (const socket of queue) socket.destroy();
		});
		await new Promise((resolve) => queue[0]!.once("connect", resolve));
		const { port } = await startEngine(box, { timeouts: { ...OFF, connect: 30 } });
		const client = await connect(port);
		await client.write(GET).sees("failed: connect_timeout");
	});

	it("pooled: an idle connection to a box is closed, earlier if the box says so", async () => {
		for (const [pooled, told] of [
			[30, ""],
			[60_000, "Keep-Alive: timeout=1\r\n"],
		] as const) {
			const box = await rawServer(answering(OK.replace("Content", `${told}Content`)));
			const { port } = await startEngine(box.port, { timeouts: { ...OFF, pooled } });
			await (await connect(port)).write(GET).sees("hello");
			await (await box.peer(0)).finished();
		}
	});

	it("idleUpgrade: a silent upgraded connection is reset", async () => {
		const box = await rawServer(answering("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"));
		const { port } = await startEngine(box.port, { timeouts: { ...OFF, idleUpgrade: 30 } });
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n").finished();
		await (await box.peer(0)).gone();
	});
});

describe("limits", () => {
	it("clients: one more is told so, and there is room again", async () => {
		const { port, engine } = await startEngine(() => localResponse(200, "hello"), { limits: { clients: 1 } });
		const first = await connect(port);
		await first.write(GET).sees("hello");
		expect(await ask(port, GET)).toMatch(/^HTTP\/1\.1 503 [\s\S]*Connection: close/);
		first.socket.destroy();
		while (engine.stats().clients > 0) await new Promise((resolve) => setImmediate(resolve));
		await (await connect(port)).write(GET).sees("hello");
	});

	it("clientsPerAddress: the same for one address", async () => {
		const { port, engine } = await startEngine(() => localResponse(200, "hello"), { limits: { clientsPerAddress: 2 } });
		const [a, b] = [await connect(port), await connect(port)];
		await Promise.all([a.write(GET).sees("hello"), b.write(GET).sees("hello")]);
		expect(await ask(port, GET)).toMatch(/^HTTP\/1\.1 429 [\s\S]*Connection: close/);
		b.socket.destroy();
		while (engine.stats().clients > 1) await new Promise((resolve) => setImmediate(resolve));
		await (await connect(port)).write(GET).sees("hello");
	});

	it("clients, clientsPerAddress: who asks nothing is not waited with", async () => {
		const options = { limits: { clients: 1 }, timeouts: { ...OFF, linger: 30 } };
		const { port } = await startEngine(() => localResponse(200, "hello"), options);
		await (await connect(port)).write(GET).sees("hello");
		expect(await ask(port, "")).toBe("");
		expect(await ask(port, "GET / HTTP/1.1\r\n")).toMatch(/^HTTP\/1\.1 408 /);
	});

	it("clients, clientsPerAddress: not any number of connections wait to be told", async () => {
		const options = { limits: { clients: 1 }, timeouts: { ...OFF, linger: 0 } };
		const { port } = await startEngine(() => localResponse(200, "hello"), options);
		await (await connect(port)).write(GET).sees("hello");
		const waiting = await Promise.all(Array.from({ length: 256 }, () => connect(port)));
		expect(await ask(port, GET)).toBe("");
		for (const { socket } of waiting) socket.destroy();
		// Once they are gone, others are told again.
		while (!(await ask(port, GET)).startsWith("HTTP/1.1 503 ")) await new Promise((resolve) => setImmediate(resolve));
	});

	it("clients: what is told is the caller's to say, and requests that are not ours are handed over all the same", async () => {
		const handed = answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napi");
		const { port, unexpected } = await startEngine(
			() => localResponse(200, "hello"),
			{
				limits: { clients: 1 },
				tooMany: (excess, request) => {
					if (request.target === "/bad") throw new TypeError("bad");
					return localResponse(503, `${excess} ${request.authority}`);
				},
			},
			{ ours: ({ authority }) => authority === "t", handOver: (socket) => handed(new Peer(socket)) },
		);
		await (await connect(port)).write(GET).sees("hello");
		expect(await ask(port, GET)).toContain("clients t");
		await (await connect(port)).write(GET.replace("t\r", "api\r")).sees("api");
		expect(await ask(port, GET.replace("/", "/bad"))).toBe("");
		expect(unexpected).toHaveLength(1);
	});

	it("clientsPerAddress: not for those who are exempt, but clients counts them", async () => {
		const { port } = await startEngine(() => localResponse(200, "hello"), {
			limits: { clients: 3, clientsPerAddress: 1 },
			exempt: (address) => address.endsWith("127.0.0.1"),
		});
		for (let i = 0; i < 3; i++) await (await connect(port)).write(GET).sees("hello");
		expect(await ask(port, GET)).toMatch(/^HTTP\/1\.1 503 /);
	});

	it("upstreamsPerDevbox: one more is a failure that the decision words", async () => {
		const box = await rawServer();
		const { port } = await startEngine(box.port, { limits: { upstreamsPerDevbox: 1 } });
		(await connect(port)).write(GET);
		await (await box.peer(0)).sees("\r\n\r\n");
		const second = await connect(port);
		await second.write(GET).sees("failed: busy");
		// It is an answer like any other: the connection goes on.
		expect(second.ended).toBe(false);
	});

	it("pooledPerTarget: no more idle connections are kept", async () => {
		const box = await rawServer(answering(OK));
		const { port, engine } = await startEngine(box.port, { limits: { pooledPerTarget: 2 } });
		const clients = await Promise.all(Array.from({ length: 5 }, () => connect(port)));
		await Promise.all(clients.map((client) => client.write(GET).sees("hello")));
		expect(engine.stats().idleUpstreams).toBeLessThanOrEqual(2);
	});

	it("headFields: more than the parser can hold is a mistake of the caller", async () => {
		await expect(startEngine(1, { limits: { headFields: 1025 } })).rejects.toThrow(RangeError);
	});
});
