/** Large bodies both ways, cut anywhere, with peers that are slow on purpose. */
import { createHash } from "node:crypto";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { cleanup, connect, localResponse, proxyTo, rawServer, stalled, startEngine } from "./testing.fixture.js";
import { isSecure, trusted } from "./transport.fixture.js";

const MEGABYTE = 1024 * 1024;

/** Small and fast, and the same in each run (mulberry32). */
function random(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

function randomBytes(size: number, seed: number): Buffer {
	const next = random(seed);
	const bytes = Buffer.allocUnsafe(size);
	for (let i = 0; i + 4 <= size; i += 4) bytes.writeUInt32LE(Math.floor(next() * 4294967296), i);
	return bytes;
}

/** Mostly around the sizes at which the engine does things differently. */
function randomPieces(bytes: Buffer, seed: number): Buffer[] {
	const next = random(seed);
	const pieces: Buffer[] = [];
	for (let at = 0; at < bytes.length; ) {
		const scale = [10, 1000, 13 * 1024, 66 * 1024, 300 * 1024][Math.floor(next() * 5)]!;
		const size = 1 + Math.floor(next() * scale);
		pieces.push(bytes.subarray(at, at + size));
		at += size;
	}
	return pieces;
}

const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** Answers with what it got, in pieces of its own, framed as the query asks. */
async function echoServer(): Promise<number> {
	const server = http.createServer((request, response) => {
		const parts: Buffer[] = [];
		request.on("data", (part: Buffer) => parts.push(part));
		request.on("end", async () => {
			const body = Buffer.concat(parts);
			response.setHeader("x-hash", hash(body));
			if (request.url === "/length") response.setHeader("content-length", body.length);
			if (request.url === "/close") response.shouldKeepAlive = response.useChunkedEncodingByDefault = false;
			for (const piece of randomPieces(body, body.length)) {
				if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
			}
			response.end();
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	cleanup(() => {
		server.closeAllConnections();
		server.close();
	});
	return (server.address() as AddressInfo).port;
}

describe("bodies", () => {
	for (const path of ["/length", "/chunked", "/close"]) {
		for (const sent of ["length", "chunked"]) {
			it(`of 5 MB arrive whole both ways: sent with ${sent}, answered ${path}`, async () => {
				const { port } = await startEngine(await echoServer());
				const { Agent, request: ask } = isSecure() ? https : http;
				const agent = new Agent({ keepAlive: true, maxSockets: 2, ...trusted() });
				cleanup(() => agent.destroy());
				const one = async (seed: number) => {
					const body = randomBytes(5 * MEGABYTE, seed);
					const headers = sent === "length" ? { "content-length": body.length } : {};
					const request = ask({ port, host: "127.0.0.1", method: "POST", path, headers, agent });
					const parts: Buffer[] = [];
					const response = new Promise<http.IncomingMessage>((resolve, reject) => {
						request.once("response", resolve).once("error", reject);
					});
					for (const piece of randomPieces(body, seed)) {
						if (!request.write(piece)) await new Promise((resolve) => request.once("drain", resolve));
					}
					request.end();
					const message = await response;
					for await (const part of message) parts.push(part as Buffer);
					expect(message.headers["x-hash"]).toBe(hash(body));
					expect(hash(Buffer.concat(parts))).toBe(hash(body));
				};
				await Promise.all([one(1), one(2), one(3), one(4)]);
			});
		}
	}

	it("hold the box back when the client does not read, with bounded memory", async () => {
		let written = 0;
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => {
				peer.write("HTTP/1.1 200 OK\r\n\r\n");
				const chunk = Buffer.alloc(64 * 1024);
				const more = () => {
					while (written < 256 * MEGABYTE && peer.socket.write(chunk)) written += chunk.length;
				};
				peer.socket.on("drain", more);
				more();
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		client.socket.pause();
		client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
		const peer = await box.peer(0);
		await stalled(() => written);
		// What is left fits into the kernel's socket buffers.
		expect(written).toBeLessThan(64 * MEGABYTE);
		expect(process.memoryUsage().arrayBuffers).toBeLessThan(64 * MEGABYTE);
		const before = written;
		client.socket.resume();
		await client.when("more", () => client.receivedBytes > before);
		expect(peer.closed).toBe(false);
	});

	it("hold the client back when the box does not read, with bounded memory", async () => {
		const box = await rawServer((peer) => {
			peer.socket.pause();
		});
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		client.write(`POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ${256 * MEGABYTE}\r\n\r\n`);
		let written = 0;
		const chunk = Buffer.alloc(64 * 1024);
		const more = () => {
			while (written < 256 * MEGABYTE && client.socket.write(chunk)) written += chunk.length;
		};
		client.socket.on("drain", more);
		more();
		await stalled(() => written);
		expect(written).toBeLessThan(64 * MEGABYTE);
		const peer = await box.peer(0);
		peer.socket.resume();
		await peer.when("all of it", () => peer.receivedBytes > 256 * MEGABYTE);
	});

	it("do not let a client that never reads pile up pipelined responses", async () => {
		const body = "x".repeat(200_000);
		let asked = 0;
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => {
				asked++;
				peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
			}),
		);
		const { port } = await startEngine(() => proxyTo(box.port));
		const client = await connect(port);
		client.socket.pause();
		client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1000));
		await stalled(() => asked);
		expect(asked).toBeLessThan(500);
		client.socket.resume();
		await client.when("all responses", () => client.receivedBytes >= 1000 * body.length);
		expect(asked).toBe(1000);
	});

	it("are read though the response before them waited for its client", async () => {
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => {
				if (peer.received.endsWith("posted")) peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
			}),
		);
		const much = localResponse(200, "x".repeat(32 * MEGABYTE));
		const { port } = await startEngine(({ method }) => (method === "GET" ? much : proxyTo(box.port)));
		const client = await connect(port);
		client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\nPOST / HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\n");
		await (await box.peer(0)).sees("POST");
		client.write("posted");
		await client.when("its response", () => client.chunks.at(-1)!.toString("latin1").endsWith("done"));
	});
});
