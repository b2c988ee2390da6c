/** What nginx cannot be: a WebSocket echo on the level of frames, and a stream of events. Raw sockets, as cheap as they come. */
import { createHash } from "node:crypto";
import * as net from "node:net";

const EVENT = `data: ${"x".repeat(90)}\n\n`;
const CHUNK = `${EVENT.length.toString(16)}\r\n${EVENT}\r\n`;
const streams = new Set<net.Socket>();
/** When the latest stream began. */
let joinedMs = 0;
/** Streams begin together: who is flooded already would keep the others from joining. */
const QUIET_MS = 300;

/** Unmasks a client's frames and sends them back as a server's; frames here are short and come whole. */
function echo(socket: net.Socket, bytes: Buffer): void {
	const out: Buffer[] = [];
	for (let at = 0; at + 6 <= bytes.length; ) {
		const length = bytes[at + 1]! & 0x7f;
		const data = bytes.subarray(at + 6, at + 6 + length);
		for (let i = 0; i < length; i++) data[i]! ^= bytes[at + 2 + (i & 3)]!;
		out.push(Buffer.from([bytes[at]!, length]), data);
		at += 6 + length;
	}
	socket.write(Buffer.concat(out));
}

function answer(socket: net.Socket, head: string): void {
	const key = /sec-websocket-key: *([^\r]+)/i.exec(head)?.[1];
	if (key !== undefined) {
		const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
		socket.write(
			`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
		);
		socket.on("data", (bytes: Buffer) => echo(socket, bytes));
		return;
	}
	socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
	socket.write(CHUNK);
	streams.add(socket);
	joinedMs = performance.now();
}

/** Answers an upload when all of it has arrived. nginx would answer at once, and let nobody measure an upload. */
function swallow(socket: net.Socket, length: number, arrived: number): void {
	let left = length - arrived;
	const take = (chunk: Buffer) => {
		left -= chunk.length;
		if (left > 0) return;
		socket.off("data", take);
		listen(socket);
		socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	};
	socket.on("data", take);
	take(Buffer.alloc(0));
}

function listen(socket: net.Socket): void {
	let head = "";
	const collect = (chunk: Buffer) => {
		head += chunk.toString("latin1");
		const end = head.indexOf("\r\n\r\n") + 4;
		if (end < 4) return;
		socket.off("data", collect);
		const length = /content-length: *(\d+)/i.exec(head)?.[1];
		if (length !== undefined) swallow(socket, Number(length), head.length - end);
		else answer(socket, head);
		socket.resume();
	};
	socket.on("data", collect);
}

net
	.createServer({ noDelay: true }, (socket) => {
		socket.on("error", () => {});
		socket.on("close", () => streams.delete(socket));
		listen(socket);
	})
	.listen(Number(process.argv[2]), "0.0.0.0", 4096);

/** As many events as the slowest reader takes: a new round begins when all have been written. */
function round(): void {
	if (streams.size === 0 || performance.now() - joinedMs < QUIET_MS) {
		setTimeout(round, 20);
		return;
	}
	for (const stream of streams) if (stream.writableLength === 0) stream.write(CHUNK);
	setImmediate(round);
}
round();
