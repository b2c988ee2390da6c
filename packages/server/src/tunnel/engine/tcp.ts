/** TCP to a box, with the box's last words heard out. */
import * as net from "node:net";

export interface Reader {
	/** The memory that the next read goes into. */
	nextWindow(): Uint8Array;
	/** So many bytes lie there. Returns whether more may come at once. */
	read(size: number): boolean;
}

/**
 * A box that refuses an upload answers and closes with the rest unread, so that its kernel sends a reset after the answer
 * (RFC 9112 §9.6). The next write fails, and Node would close the socket with the answer still to be read.
 */
class BoxSocket extends net.Socket {
	#failure: Error | undefined;
	#held = false;

	/** Keeps in mind whether reading stops here. */
	took(more: boolean): boolean {
		this.#held = !more;
		return more;
	}

	override resume(): this {
		super.resume();
		this.#held = false;
		if (this.#failure !== undefined) this.#hearOut(this.#failure);
		return this;
	}

	override destroy(error?: NodeJS.ErrnoException): this {
		if (error?.syscall !== "write") return super.destroy(error);
		if (this.#failure === undefined) this.#hearOut(error);
		this.#failure = error;
		return this;
	}

	/** Nothing arrives after a reset, so what is not read in a whole turn of the event loop is not there. */
	#hearOut(failure: Error): void {
		const before = this.bytesRead;
		// The first of them may come before the turn's poll.
		setImmediate(() =>
			setImmediate(() => {
				if (this.#held) return;
				if (this.bytesRead > before) this.#hearOut(failure);
				else super.destroy(failure);
			}),
		);
	}
}

export function connectTcp(host: string, port: number, reader: Reader): net.Socket {
	const options = {
		host,
		port,
		noDelay: true,
		allowHalfOpen: true,
		onread: {
			buffer: () => reader.nextWindow(),
			callback: (size: number) => socket.took(reader.read(size)),
		},
	};
	const socket = new BoxSocket(options);
	return socket.connect(options);
}
