import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { answeredByApi, domain, unused, useEdge } from "./edge.fixture.js";
import type { Edge, EdgeHandlers, EdgeLimits } from "./index.js";

const tunnelHost = `8080-abcdefghijklmnopqrstuvwx27.tunnel.${domain}`;
const startEdge = useEdge();

function start(stream: EdgeHandlers["tunnel"]["stream"], limits: Partial<EdgeLimits> = {}) {
	return startEdge({ handlers: answeredByApi({ accept: unused, stream }), limits });
}

/** One frame (RFC 9113, 4.1). */
function frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
	const head = Buffer.alloc(9);
	head.writeUIntBE(payload.length, 0, 3);
	head.set([type, flags], 3);
	head.writeUInt32BE(stream, 5);
	return Buffer.concat([head, payload]);
}

const END_STREAM = 1;
const END_HEADERS = 4;
const data = (stream: number, text: string) => frame(0, END_STREAM, stream, Buffer.from(text));
const goaway = () => frame(7, 0, 0, Buffer.alloc(8));

/** Literal fields without Huffman coding or indexing (RFC 7541, 6.2.2). */
function headers(stream: number, flags: number, fields: Record<string, string>): Buffer {
	const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
	const all = { ":method": "POST", ":scheme": "http", ":path": "/", ...fields };
	const block = Object.entries(all).map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)]));
	return frame(1, END_HEADERS | flags, stream, Buffer.concat(block));
}

/** A client that sends all of it in one piece after the preface. */
async function dial(port: number, ...frames: Buffer[]): Promise<Socket> {
	const socket = connect(port, "127.0.0.1");
	socket.on("error", () => {});
	onTestFinished(() => void socket.destroy());
	await once(socket, "connect");
	const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	socket.write(Buffer.concat([preface, frame(4, 0, 0), ...frames]));
	return socket;
}

/** Waits for a frame of that type, flags aside, on that stream. */
async function sees(socket: Socket, type: number, stream: number): Promise<void> {
	let bytes = Buffer.alloc(0);
	for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
		bytes = Buffer.concat([bytes, chunk]);
		while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
			if (bytes[3] === type && bytes.readUInt32BE(5) === stream) return;
			bytes = bytes.subarray(9 + bytes.readUIntBE(0, 3));
		}
	}
	throw new Error(`the connection ended without a frame of type ${type}`);
}

async function quiet(edge: Edge): Promise<void> {
	while (Object.values(edge.connections()).some((count) => count > 0)) await new Promise(setImmediate);
}

describe("a hostile HTTP/2 client", () => {
	test.each([tunnelHost, domain, "evil.example"])(
		"that breaks its stream to %s before it was told of does not end the process",
		async (authority) => {
			const { httpPort } = await start((stream) => stream.on("error", () => {}));
			// More data than announced: nghttp2 resets the stream in the same read that opened it.
			const request = headers(1, 0, { ":authority": authority, "content-length": "1" });
			await sees(await dial(httpPort, request, data(1, "xyz")), 3, 1);
		},
	);

	test("that says GOAWAY and then sends a request does not corrupt memory: it is served, and the connection ends", async () => {
		const { edge, httpPort } = await start((stream) => {
			stream.respond({ ":status": 200 });
			stream.end("x");
		});
		for (let round = 0; round < 50; round++) {
			const socket = await dial(httpPort, goaway(), headers(1, END_STREAM, { ":authority": tunnelHost }));
			await sees(socket, 1, 1);
			socket.resume();
			await once(socket, "end");
			socket.destroy();
		}
		await quiet(edge);
	});

	test("that makes Node deaf to its connection and leaves does not keep connection and request", async () => {
		let closed: Promise<unknown> | undefined;
		const { edge, httpPort } = await start(
			(stream) => {
				stream.on("error", () => {});
				closed = once(stream, "close");
			},
			{ keepAliveMs: 100 },
		);
		const request = headers(1, END_STREAM, { ":authority": tunnelHost });
		const socket = await dial(httpPort, request, data(9, "on a stream that nobody opened"));
		await sees(socket, 7, 0);
		socket.destroy();
		await closed;
		await quiet(edge);
	});

	test("a silent client that answers pings keeps its request", async () => {
		const { httpPort } = await start((stream) => stream.on("error", () => {}), { keepAliveMs: 50 });
		const socket = await dial(httpPort, headers(1, END_STREAM, { ":authority": tunnelHost }));
		for (let round = 0; round < 3; round++) {
			await sees(socket, 6, 0);
			socket.write(frame(6, 1, 0, Buffer.alloc(8)));
		}
		expect(socket.closed).toBe(false);
	});
});
