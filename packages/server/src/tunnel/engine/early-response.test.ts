/** Boxes that answer an upload before its end and close, as servers do with what is too large or not allowed. */
import type * as net from "node:net";
import { describe, expect, it } from "vitest";
import { ask, start } from "./http2.fixture.js";
import { connect, type Peer, rawServer, startEngine } from "./testing.fixture.js";

const SIZE = 5 * 1024 * 1024;
const ROUNDS = 20;
const REFUSAL = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";

/** Sends the whole body without looking at what comes back, like many a client. */
async function upload(client: Peer, framing: "length" | "chunked"): Promise<void> {
	const head = framing === "length" ? `Content-Length: ${SIZE}` : "Transfer-Encoding: chunked";
	client.write(`POST / HTTP/1.1\r\nHost: t\r\n${head}\r\n\r\n`);
	const piece = Buffer.alloc(16 * 1024);
	const chunk = framing === "length" ? piece : Buffer.concat([Buffer.from("4000\r\n"), piece, Buffer.from("\r\n")]);
	for (let sent = 0; sent < SIZE && client.socket.writable; sent += piece.length) {
		if (!client.socket.write(chunk)) {
			await new Promise((resolve) => client.socket.once("drain", resolve).once("close", resolve));
		}
	}
	if (framing === "chunked" && client.socket.writable) client.write("0\r\n\r\n");
}

/** Closed with unread bytes in it, a connection ends with a reset. */
const closings: [name: string, close: (socket: net.Socket) => void][] = [
	["closes with most of the upload unread", (socket) => void socket.pause().write(REFUSAL, () => socket.destroy())],
	["resets", (socket) => void socket.pause().write(REFUSAL, () => socket.resetAndDestroy())],
	["ends and then closes", (socket) => void socket.pause().end(REFUSAL, () => socket.destroy())],
];

describe("an early response", () => {
	for (const framing of ["length", "chunked"] as const) {
		it.each(closings)(
			`to an upload sent with ${framing} reaches the client whole when the box %s`,
			async (_name, close) => {
				const box = await rawServer((peer) => peer.socket.once("data", () => close(peer.socket)));
				const { port, records } = await startEngine(box.port);
				for (let round = 1; round <= ROUNDS; round++) {
					const client = await connect(port);
					await upload(client, framing);
					expect(await client.finished()).toBe(REFUSAL);
				}
				expect(records.map(({ status, outcome }) => `${status} ${outcome}`)).toEqual(
					Array(ROUNDS).fill("413 completed"),
				);
			},
		);
	}

	it.each(closings)("to an upload over HTTP/2 reaches the client whole when the box %s", async (_name, close) => {
		const box = await rawServer((peer) => peer.socket.once("data", () => close(peer.socket)));
		const { session, records } = await start(box.port);
		for (let round = 1; round <= ROUNDS; round++) {
			const got = await ask(session, { ":method": "POST" }, Buffer.alloc(SIZE));
			expect(got.headers[":status"]).toBe(413);
			expect(got.body.toString()).toBe("big");
		}
		expect(records.map(({ status, outcome }) => `${status} ${outcome}`)).toEqual(Array(ROUNDS).fill("413 completed"));
	});

	it("that the box did not finish is broken off all the same", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => {
				peer.socket.pause().write(REFUSAL.slice(0, -1), () => peer.socket.resetAndDestroy());
			}),
		);
		const { port, records } = await startEngine(box.port);
		const client = await connect(port);
		await upload(client, "length");
		expect(REFUSAL).toContain(await client.finished());
		expect(records).toMatchObject([{ outcome: "aborted" }]);
	});

	it("that never began is a 502 at once", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.socket.resetAndDestroy()));
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await upload(client, "length");
		expect(await client.finished()).toContain("failed: closed");
	});
});
