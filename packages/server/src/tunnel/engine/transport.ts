/** What carries the bytes of a connection to a box: TCP, or a stream that the decision brings. */
import * as net from "node:net";
import type { Duplex } from "node:stream";
import type { ProxyDecision } from "../decision.js";
import { connectTcp, type Reader } from "./tcp.js";

export interface Receiver extends Reader {
	/** The same as `read` for bytes that came in memory of their own. */
	readChunk(chunk: Buffer): boolean;
}

/** Begins to connect. Only node:net can read into memory that it is given. */
export function openTransport({ address, port, dial }: ProxyDecision, receiver: Receiver): Duplex {
	if (dial === undefined) return connectTcp(address, port, receiver);
	const stream = dial();
	stream.on("data", (chunk: Buffer) => {
		if (!receiver.readChunk(chunk)) stream.pause();
	});
	return stream;
}

/** Lets TCP find out that the peer is gone; other streams have their own ways. */
export function keepAlive(stream: Duplex): void {
	if (stream instanceof net.Socket) stream.setKeepAlive(true, 60_000);
}
