import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Client, ClientChannel } from "ssh2";

/** RFC 4254 demands that 32 KiB be taken. A server that asks for crumbs would keep us cutting; one that asks for 0, for ever. */
const leastPacketSize = 1024;

/** The SSH connection that carries channels. */
export interface Carrier {
	readonly client: Client;
	readonly socket: Socket;
}

/**
 * A TCP connection that the other side of an SSH connection makes for us, with the manners of a `net.Socket`: what is
 * written before "connect" waits, "error" has a `code`, both ends close by themselves, and neither direction reads or
 * takes more than the other end of it lets pass.
 */
export class TcpChannel extends Duplex {
	#channel: ClientChannel | undefined;
	#carrier: Carrier | undefined;
	#written: ((error?: Error) => void) | undefined;

	/** Bytes that arrived and that nobody has taken yet. */
	get heldBytes(): number {
		return this.readableLength + (this.#channel?.readableLength ?? 0);
	}

	/** The other side has made the connection. */
	join(channel: ClientChannel, carrier: Carrier): void {
		// Nothing honest comes as standard error. What comes after an end, there or here, is an error that nobody else hears of.
		channel.stderr.on("error", () => {}).resume();
		channel.on("error", (error: Error) => this.destroy(error));
		if (packetSize(channel) < leastPacketSize) {
			this.destroy(connectionError("ECONNRESET", "the SSH server cannot be talked to"));
		}
		if (this.destroyed) {
			release(channel);
			return;
		}
		this.#channel = channel;
		this.#carrier = carrier;
		channel.on("data", (chunk: Buffer) => {
			if (!this.destroyed && !this.push(chunk)) channel.pause();
		});
		channel.once("end", () => this.push(null));
		channel.once("close", () => this.#settleWrite(connectionError("ECONNRESET", "the connection is closed")));
		this.emit("connect");
	}

	override _read(): void {
		this.#channel?.resume();
	}

	override _write(chunk: Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
		const channel = this.#channel;
		if (!channel) {
			this.once("connect", () => this._write(chunk, encoding, callback));
			return;
		}
		if (!channel.writable) {
			callback(connectionError("EPIPE", "the connection is closed"));
			return;
		}
		this.#written = callback;
		const { socket } = this.#carrier!;
		const before = socket.bytesWritten;
		// Called back once the window had room for it.
		channel.write(chunk, () => this.#settleSent(chunk.length > 0 && socket.bytesWritten === before));
	}

	/** ssh2 itself minds neither whether the socket takes more nor whether it is `kept`, as all is while the server re-keys. */
	#settleSent(kept: boolean): void {
		const { client, socket } = this.#carrier!;
		if (kept) client.once("handshake", () => this.#settleWrite());
		else if (socket.writableNeedDrain) socket.once("drain", () => this.#settleWrite());
		else this.#settleWrite();
	}

	override _final(callback: (error?: Error | null) => void): void {
		if (this.#channel) this.#channel.end();
		else this.once("connect", () => this.#channel?.end());
		callback();
	}

	override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
		if (this.#channel) release(this.#channel);
		callback(error);
	}

	#settleWrite(error?: Error): void {
		const callback = this.#written;
		this.#written = undefined;
		callback?.(error);
	}
}

/** An error as `node:net` has them: callers tell them apart by `code`. */
export function connectionError(code: string, message: string, options?: ErrorOptions): NodeJS.ErrnoException {
	return Object.assign(new Error(message, options), { code });
}

/** Closes it; ssh2 takes a channel for closed only when all that came has been read. */
function release(channel: ClientChannel): void {
	channel.destroy();
	channel.resume();
}

function packetSize(channel: ClientChannel): number {
	return (channel.outgoing as { readonly packetSize: number }).packetSize;
}
