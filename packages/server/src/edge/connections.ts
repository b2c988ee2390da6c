import type { Socket } from "node:net";
import { Counts, clientKey } from "../limits/index.js";
import { plainAddress } from "./names.js";

export type ConnectionKind = "opening" | "http1" | "http2" | "passthrough" | "gateway";

/** One TCP connection that the edge accepted. */
export class Connection {
	kind: ConnectionKind = "opening";
	/** The peer of the TCP connection. */
	readonly peerAddress: string;
	/** What the conversation is held on: the TCP socket, later the TLS socket around it. */
	stream: Socket;
	/** The TCP socket. */
	readonly carrier: Socket;
	/** HTTP requests that are not answered yet; those of connections that the tunnel keeps are not counted. */
	requests = 0;
	draining = false;
	/** Ends the connection as soon as its protocol allows; called when the edge closes and after each request from then on. */
	onDrain: () => void = () => this.destroy();

	constructor(socket: Socket) {
		this.stream = socket;
		this.carrier = socket;
		this.peerAddress = plainAddress(socket.remoteAddress);
	}

	drain(): void {
		if (this.draining) return;
		this.draining = true;
		this.onDrain();
	}

	destroy(): void {
		this.stream.destroy();
	}
}

/** All open connections. */
export class Connections {
	readonly #open = new Set<Connection>();
	readonly #byClient = new Counts();
	#whenEmpty: (() => void) | undefined;

	get size(): number {
		return this.#open.size;
	}

	/** How many of them are one peer's (of IPv6, one /64's). */
	of(peerAddress: string): number {
		return this.#byClient.of(clientKey(peerAddress));
	}

	add(socket: Socket): Connection {
		const connection = new Connection(socket);
		this.#open.add(connection);
		this.#byClient.add(clientKey(connection.peerAddress));
		socket.on("close", () => this.#remove(connection));
		// A reset peer is no event of its own: "close" follows.
		socket.on("error", ignore);
		return connection;
	}

	count(): Record<ConnectionKind, number> {
		const counts = { opening: 0, http1: 0, http2: 0, passthrough: 0, gateway: 0 };
		for (const { kind } of this.#open) counts[kind]++;
		return counts;
	}

	/** Lets every connection end by itself for so long, then ends the rest. */
	async drain(graceMs: number): Promise<void> {
		for (const connection of this.#open) connection.drain();
		if (this.#open.size === 0) return;
		const empty = new Promise<void>((resolve) => {
			this.#whenEmpty = resolve;
		});
		const deadline = setTimeout(() => {
			for (const connection of this.#open) connection.destroy();
		}, graceMs);
		await empty;
		clearTimeout(deadline);
	}

	#remove(connection: Connection): void {
		if (!this.#open.delete(connection)) return;
		this.#byClient.remove(clientKey(connection.peerAddress));
		if (this.#open.size === 0) this.#whenEmpty?.();
	}
}

export function ignore(): void {}
