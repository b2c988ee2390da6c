import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { answering, cleanup, connect, proxyTo, rawServer, startEngine } from "./testing.fixture.js";
import { isSecure, trusted } from "./transport.fixture.js";

const UPGRADE = "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: raw\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";

describe("an upgrade", () => {
	it("is a byte pipe: heads, early bytes, both directions", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.write(`${SWITCH}early`)));
		const { port, records, engine } = await startEngine(() => proxyTo(box.port, { set: [["x-real-ip", "1"]] }));
		const client = await connect(port);
		await client.write(UPGRADE).sees("early");
		expect(client.received).toBe(
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nearly",
		);
		const peer = await box.peer(0);
		expect(peer.received).toBe(
			"GET /ws HTTP/1.1\r\nHost: t\r\nx-real-ip: 1\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
		);
		(await client.write("GET / HTTP/1.1\r\n\r\n\0\xff")) && (await peer.sees("\0\xff"));
		(await peer.write("\r\n\0").end()) && (await client.finished());
		expect(client.received.endsWith("early\r\n\0")).toBe(true);
		// The other direction is still open.
		(await client.write("after").end()) && (await peer.finished());
		expect(peer.received.endsWith("after")).toBe(true);
		await client.gone();
		expect(records).toMatchObject([
			{ status: 101, upgraded: true, outcome: "completed", bytesFromClient: 25, bytesToClient: 8 },
		]);
		await peer.gone();
		expect(engine.stats()).toMatchObject({ clients: 0, upstreams: 0 });
	});

	it("passes on what the client sent before the box had switched", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => setImmediate(() => peer.write(SWITCH))));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		client.write(`${UPGRADE}impatient`);
		await (await box.peer(0)).sees("impatient");
	});

	it("that the box declines is an ordinary response", async () => {
		const box = await rawServer(answering("HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno"));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(UPGRADE).sees("no");
		client.write(UPGRADE);
		await client.when("another response", () => client.received.split("\r\n\r\nno").length === 3);
		expect(box.peers).toHaveLength(1);
	});

	it("with a body switches after the body", async () => {
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => peer.received.endsWith("body") && peer.write(SWITCH)),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client
			.write(UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody").replace("GET", "POST"))
			.sees("101 ");
	});

	it("before the end of the body is a bad response", async () => {
		const box = await rawServer(answering(SWITCH));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\n")).sees("failed: bad_response");
	});

	it("to something else than what was asked for is a bad response", async () => {
		const box = await rawServer(answering(SWITCH.replace("raw", "other")));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(UPGRADE).sees("failed: bad_response");
	});

	it("passes resets on in both directions", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.write(SWITCH)));
		const { port, records } = await startEngine(box.port);
		const first = await connect(port);
		await first.write(UPGRADE).sees("\r\n\r\n");
		first.socket.resetAndDestroy();
		const peer = await box.peer(0);
		await peer.gone();
		expect(peer.reset).toBe(true);
		const second = await connect(port);
		await second.write(UPGRADE).sees("\r\n\r\n");
		(await box.peer(1)).socket.resetAndDestroy();
		await second.finished();
		expect(second.reset).toBe(!isSecure());
		expect(records).toMatchObject([{ outcome: "aborted" }, { outcome: "aborted" }]);
	});

	it("is dropped with its devbox", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.write(SWITCH)));
		const { port, engine } = await startEngine((request) => proxyTo(box.port, { devboxId: request.target }));
		const client = await connect(port);
		await client.write(UPGRADE).sees("\r\n\r\n");
		engine.dropDevbox("/other");
		(await client.write("still")) && (await (await box.peer(0)).sees("still"));
		engine.dropDevbox("/ws");
		await client.finished();
		await (await box.peer(0)).gone();
		expect(engine.stats()).toMatchObject({ clients: 0, upstreams: 0 });
	});

	it("carries WebSockets of any size, many at once, and counts as activity", async () => {
		const server = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: 64 * 1024 * 1024 });
		server.on("connection", (socket) =>
			socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),
		);
		await new Promise((resolve) => server.once("listening", resolve));
		cleanup(() => {
			for (const socket of server.clients) socket.terminate();
			server.close();
		});
		let active = 0;
		const { port } = await startEngine(() =>
			proxyTo((server.address() as AddressInfo).port, { activity: () => active++ }),
		);
		const sizes = [0, 1, 125, 126, 12_000, 13_000, 65_535, 65_536, 300_000, 3_000_000];
		await Promise.all(
			Array.from({ length: 20 }, async () => {
				const socket = new WebSocket(`${isSecure() ? "wss" : "ws"}://127.0.0.1:${port}/`, trusted());
				await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
				for (const size of sizes) {
					const message = randomBytes(size);
					const echo = new Promise<Buffer>((resolve) => socket.once("message", (data) => resolve(data as Buffer)));
					socket.send(message);
					expect(message.equals(await echo)).toBe(true);
				}
				const closed = new Promise<number>((resolve) => socket.once("close", resolve));
				socket.close(1000);
				expect(await closed).toBe(1000);
			}),
		);
		expect(active).toBeGreaterThan(20 * sizes.length);
	});
});
