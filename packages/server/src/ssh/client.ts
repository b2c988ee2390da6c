import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { SshAccess } from "../devboxes/index.js";
import { connectionLost, logIn } from "./login.js";
import { type Carrier, connectionError, TcpChannel } from "./tcp-channel.js";

export interface SshClientOptions {
	/** Whom to log in to, and as whom. A rejection is the end of the client. */
	readonly access: Promise<SshAccess>;
	/** Opens the connection to the sshd at an address. */
	readonly connect: (address: string) => Socket;
	/** Closes itself when nothing was open for so long. */
	readonly idleTimeoutMs: number;
	/** It is of no use any more. Called once. */
	readonly closed?: () => void;
}

const keepAliveMs = 15_000;
/** Each is a file descriptor of one sshd process, which mostly may have 1024. */
const mostChannels = 900;
/** Bytes that one connection may keep waiting, either way. */
const mostHeldBytes = 64 * 1024 * 1024;

/** RFC 4254, section 5.1. */
const failureCodes: Readonly<Record<number, string>> = { 1: "EACCES", 2: "ECONNREFUSED", 4: "EAGAIN" };

/**
 * One SSH connection to a devbox, with the devbox's own key. Its sshd is the box's, and the box may be hostile: the host
 * key must be exactly the stored one, and what the server can make us hold is bounded.
 */
export class SshClient {
	readonly #options: SshClientOptions;
	readonly #ready: Promise<Carrier>;
	readonly #streams = new Set<TcpChannel>();
	#socket: Socket | undefined;
	/** Channels that the server has not closed, those included whose stream is gone. */
	#channels = 0;
	#idle: NodeJS.Timeout | undefined;
	#closed = false;

	/** Begins to connect; what is opened meanwhile waits. */
	constructor(options: SshClientOptions) {
		this.#options = Object.freeze({ ...options });
		this.#ready = this.#connect();
		this.#ready.catch((cause: unknown) => {
			this.#end(connectionError("EHOSTUNREACH", "the devbox's sshd did not let us in", { cause }));
		});
		this.#rest();
	}

	/**
	 * A TCP connection from the box to `host` and `port`, as the box understands them. Emits "connect" when it stands, or
	 * "error": ECONNREFUSED where the box is refused, EHOSTUNREACH where no login succeeds, ECONNRESET when the SSH connection breaks.
	 */
	openTcp(host: string, port: number): Duplex {
		const stream = new TcpChannel();
		if (this.#closed) return stream.destroy(connectionLost());
		clearTimeout(this.#idle);
		this.#streams.add(stream);
		stream.once("close", () => {
			this.#streams.delete(stream);
			this.#rest();
		});
		this.#ready
			.then((carrier) => this.#forward(stream, carrier, host, port))
			.catch(() => stream.destroy(connectionLost()));
		return stream;
	}

	/** Ends the connection and everything on it. Twice is fine. */
	close(): void {
		this.#end(connectionLost());
	}

	async #connect(): Promise<Carrier> {
		const access = await this.#options.access;
		if (this.#closed) throw connectionLost();
		const connect = (address: string) => {
			const socket = this.#options.connect(address);
			this.#socket = socket;
			return socket;
		};
		const carrier = await logIn(access, { connect, keepAliveMs });
		const { client, socket } = carrier;
		// One listener for each stream that waits for them.
		client.setMaxListeners(0);
		socket.setMaxListeners(0);
		// Of a server that ssh2 does not understand any more it only ends our half.
		client.on("error", () => this.close()).on("close", () => this.close());
		socket.on("data", () => this.#limitHeld(socket));
		return carrier;
	}

	#forward(stream: TcpChannel, carrier: Carrier, host: string, port: number): void {
		if (stream.destroyed) return;
		if (this.#channels >= mostChannels) {
			stream.destroy(connectionError("EAGAIN", "too many connections to the loopback of this devbox"));
			return;
		}
		this.#channels++;
		carrier.client.forwardOut("127.0.0.1", 0, host, port, (failure, channel) => {
			if (failure) {
				this.#channels--;
				stream.destroy(refusal(failure));
				return;
			}
			channel.once("close", () => this.#channels--);
			stream.join(channel, carrier);
		});
	}

	/**
	 * ssh2 keeps what nobody reads, also beyond the window that it gave, and answers requests whether the answers are read or not.
	 * The stream that holds most pays for all.
	 */
	#limitHeld(socket: Socket): void {
		let held = 0;
		let largest: TcpChannel | undefined;
		for (const stream of this.#streams) {
			held += stream.heldBytes;
			if (!largest || stream.heldBytes > largest.heldBytes) largest = stream;
		}
		if (held > mostHeldBytes) largest?.destroy(connectionError("ENOBUFS", "too much is waiting to be read"));
		if (socket.writableLength > mostHeldBytes) this.close();
	}

	#rest(): void {
		if (this.#streams.size > 0 || this.#closed) return;
		clearTimeout(this.#idle);
		this.#idle = setTimeout(() => this.close(), this.#options.idleTimeoutMs).unref();
	}

	#end(error: Error): void {
		if (this.#closed) return;
		this.#closed = true;
		clearTimeout(this.#idle);
		this.#socket?.destroy();
		for (const stream of this.#streams) stream.destroy(error);
		this.#options.closed?.();
	}
}

function refusal(failure: Error & { readonly reason?: unknown }): Error {
	const code = failureCodes[Number(failure.reason)] ?? "ECONNRESET";
	return connectionError(code, "the devbox did not make the connection", { cause: failure });
}
