/** Finds out that a client is gone while nothing is read from it, or after it has half-closed. */
import type * as net from "node:net";
import { NEVER, Timed, type Wheel } from "./wheel.js";

const EVERY_MS = 1000;

/**
 * A paused socket is told neither of a reset nor of a peer that no longer answers TCP's keepalives. Writing nothing to it costs
 * one system call, sends no byte, and fails if the kernel knows.
 */
export class Probe extends Timed {
	/** With the TCP sockets that carry them: TLS would not pass nothing on. */
	private readonly sockets = new Map<net.Socket, net.Socket>();

	constructor(private readonly wheel: Wheel) {
		super();
	}

	watch(socket: net.Socket, carrier: net.Socket): void {
		this.sockets.set(socket, carrier);
		if (this.deadline === NEVER) this.wheel.set(this, EVERY_MS);
	}

	forget(socket: net.Socket): void {
		this.sockets.delete(socket);
	}

	override expired(): void {
		for (const [socket, carrier] of this.sockets) {
			// What is being written finds out by itself, and nothing would only queue up behind it.
			if (socket.writableLength === 0 && carrier.writable) carrier.write("");
		}
		if (this.sockets.size > 0) this.wheel.set(this, EVERY_MS);
	}
}
