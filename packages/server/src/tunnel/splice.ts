import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { joined, pairs, responseFields } from "./fields.js";
import type { FrontResponse } from "./front.js";

/** Milliseconds of silence after which TCP asks whether the peer still lives. */
const keepAliveMs = 60_000;

export interface SpliceOptions {
	readonly client: Socket;
	/** What the client sent behind its request. */
	readonly clientHead: Buffer;
	readonly upstream: Socket;
	/** What the upstream sent behind its response. */
	readonly upstreamHead: Buffer;
	/** The upstream's 101. */
	readonly response: IncomingMessage;
	/** Holds the client's socket until now. */
	readonly clientResponse: FrontResponse;
	readonly requestId: string;
	readonly onBytes: (direction: "in" | "out", count: number) => void;
	/** Called once, when both sides are closed. */
	readonly onEnd: () => void;
}

/** Passes the 101 on and joins the two connections: bytes both ways, each way closed by itself. Returns what ends both. */
export function splice(options: SpliceOptions): () => void {
	const { client, upstream, onBytes } = options;
	(options.clientResponse as ServerResponse).detachSocket(client);
	let open = 2;
	const closed = () => {
		if (--open === 0) options.onEnd();
	};
	const end = () => {
		client.destroy();
		upstream.destroy();
	};
	for (const socket of [client, upstream]) {
		socket.setTimeout(0);
		socket.setKeepAlive(true, keepAliveMs);
		socket.setNoDelay(true);
		socket.on("error", end);
		socket.once("close", closed);
	}
	// A socket that closes without having ended was cut; the other side must not take that for a clean end.
	client.once("close", () => client.readableEnded || upstream.destroy());
	upstream.once("close", () => upstream.readableEnded || client.destroy());

	client.write(switchingProtocols(options.response, options.requestId), "latin1");
	if (options.upstreamHead.length > 0) {
		client.write(options.upstreamHead);
		onBytes("out", options.upstreamHead.length);
	}
	if (options.clientHead.length > 0) {
		upstream.write(options.clientHead);
		onBytes("in", options.clientHead.length);
	}
	client.pipe(upstream);
	upstream.pipe(client);
	client.on("data", (chunk: Buffer) => onBytes("in", chunk.length));
	upstream.on("data", (chunk: Buffer) => onBytes("out", chunk.length));
	return end;
}

function switchingProtocols(response: IncomingMessage, requestId: string): string {
	const fields = responseFields(response.rawHeaders, [["x-runloop-request-id", requestId]]);
	fields.push("Connection", "Upgrade", "Upgrade", joined(response.rawHeaders, "upgrade") ?? "");
	const lines = [...pairs(fields)].map(([name, value]) => `${name}: ${value}\r\n`);
	return `HTTP/1.1 101 ${response.statusMessage || "Switching Protocols"}\r\n${lines.join("")}\r\n`;
}
