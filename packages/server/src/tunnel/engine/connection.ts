/** The connection of an HTTP/1.1 client: reads one request head after the other, and ends so that the client sees why. */
import type * as net from "node:net";
import type { LocalResponse, RequestInfo } from "../decision.js";
import { LF } from "./codec/chars.js";
import { INCOMPLETE } from "./codec/fields.js";
import { RequestHead } from "./codec/request-head.js";
import type { Core } from "./core.js";
import { localMessage } from "./local.js";
import type { Excess } from "./options.js";
import { Timed } from "./wheel.js";

/** Between requests, or within a head. */
export const HEAD = 0;
/** `decide` is thinking. */
export const DECIDING = 1;
/** A request is being answered. */
export const BUSY = 2;
/** The last response is written; what the client still sends is thrown away. */
export const CLOSING = 3;
export const GONE = 4;

export interface ClientOptions {
	readonly secure: boolean;
	/** Default: what the socket says. */
	readonly peerAddress?: string;
	/** The TCP socket under a TLS one. Default: the connection's own. */
	readonly carrier?: net.Socket;
	/** Bytes that were read from the socket already. */
	readonly head?: Buffer;
	/** Is this request the tunnel's? Asked before `decide`. Default: every one is. */
	ours?(this: void, request: RequestInfo): boolean;
	/**
	 * Takes the connection at the first request that is not ours; the engine has let go of it and put back what it read.
	 * Without it, such a request is 421.
	 */
	handOver?(this: void, socket: net.Socket): void;
}

export abstract class Connection extends Timed {
	protected state = HEAD;
	/** Read but not used up. */
	protected pending: Buffer | undefined;
	protected keep = true;
	/** The client has half-closed. */
	protected ended = false;
	protected paused = false;
	private parsing = false;
	// Kept one by one to be taken off again: connections are many, so each has only what it needs.
	private readonly onData = (chunk: Buffer) => this.arrived(chunk);
	private readonly onDrain = () => this.drained();
	private readonly onEnd = () => this.clientEnded();
	private readonly onEnded = () => this.gone();

	constructor(
		protected readonly core: Core,
		readonly socket: net.Socket,
		protected readonly options: ClientOptions,
		readonly peerAddress: string,
		/** It is one too many: its first request is turned away. */
		readonly excess: Excess | undefined,
		private readonly whenGone: () => void,
	) {
		super();
		socket.allowHalfOpen = true;
		socket.on("data", this.onData).on("drain", this.onDrain).on("end", this.onEnd);
		socket.on("error", this.onEnded).on("close", this.onEnded);
		this.limitHead();
	}

	/** A request that is the tunnel's begins. */
	protected abstract begin(head: RequestHead): void;
	/** Bytes came while a request is under way. */
	protected abstract receive(chunk: Buffer): void;
	/** The client takes more. */
	protected abstract drained(): void;
	/** The client has half-closed while a request is being answered. */
	protected abstract halfClosed(): void;
	/** Sets how long nothing may move from now on. */
	protected abstract limitSilence(): void;
	/** Nothing has moved for too long while a request is being answered. */
	protected abstract silent(): void;
	/** The connection is gone; `state` is what it was in. */
	protected abstract abandon(state: number): void;

	/** Bytes came from the client. */
	arrived(chunk: Buffer): void {
		if (this.state === HEAD) this.readHeads(chunk);
		else if (this.state !== CLOSING && this.state !== GONE) this.receive(chunk);
	}

	/** No new requests; a connection that waits for one is closed. */
	stop(): void {
		this.keep = false;
		if (this.state === HEAD && this.pending === undefined) this.closeGently(false);
	}

	destroy(): void {
		this.socket.destroy();
		this.gone();
	}

	override expired(): void {
		if (this.state === HEAD && this.pending !== undefined) this.reject(this.core.refuse(408));
		else if (this.state === HEAD) this.closeGently(false);
		else if (this.state === CLOSING) this.destroy();
		else this.silent();
	}

	private limitHead(): void {
		const { head, linger } = this.core.timeouts;
		this.core.wheel.set(this, this.excess === undefined ? head : linger);
	}

	private readHeads(chunk: Buffer): void {
		const partial = this.pending;
		this.pending = partial === undefined ? chunk : Buffer.concat([partial, chunk]);
		// Only a line's end can change the answer, so a trickle of bytes is not parsed over and over.
		if (partial !== undefined && this.pending.length < this.core.limits.headBytes && !chunk.includes(LF)) return;
		this.parsePending(partial !== undefined);
	}

	/** Parses and answers as long as both can be done at once. */
	private parsePending(timed: boolean): void {
		if (this.parsing) return;
		this.parsing = true;
		let running = timed;
		while (this.state === HEAD && this.pending !== undefined) {
			const bytes = this.pending;
			const head = RequestHead.parse(bytes, 0, bytes.length, this.core.limits);
			if (typeof head === "number") {
				if (head !== INCOMPLETE) this.reject(this.core.refuse(-head));
				// The time for a head runs from its first byte, not from its latest.
				else if (!running) this.limitHead();
				break;
			}
			running = false;
			this.pending = head.end < bytes.length ? bytes.subarray(head.end) : undefined;
			head.secure = this.options.secure;
			head.peerAddress = this.peerAddress;
			this.admit(head, bytes);
		}
		this.parsing = false;
	}

	private admit(head: RequestHead, bytes: Buffer): void {
		const { ours, handOver } = this.options;
		if (ours !== undefined && !ours(head)) {
			if (handOver === undefined) {
				this.reject(this.core.refuse(421, head));
				return;
			}
			this.letGo(bytes);
			handOver(this.socket);
		} else if (this.excess === undefined) this.begin(head);
		else this.turnAway(head, this.excess);
	}

	private turnAway(head: RequestHead, excess: Excess): void {
		try {
			this.reject(this.core.tooMany(excess, head), head.method);
		} catch (error) {
			this.core.unexpected(error);
			this.destroy();
		}
	}

	/** The next request may come. */
	protected next(): void {
		if (this.core.closing) {
			this.closeGently(false);
			return;
		}
		this.core.wheel.set(this, this.core.timeouts.keepAlive);
		if (this.pending !== undefined) this.parsePending(false);
		if (this.state === HEAD) this.unpause();
	}

	/** Keeps what cannot be used yet. */
	protected queue(rest: Buffer | undefined): void {
		if (rest === undefined || this.state === GONE || this.state === CLOSING) return;
		this.pending = this.pending === undefined ? rest : Buffer.concat([this.pending, rest]);
		if (this.pending.length >= this.core.limits.pipelinedBytes) this.pause();
	}

	protected pause(): void {
		if (this.paused) return;
		this.paused = true;
		this.socket.pause();
		this.core.probe.watch(this.socket, this.options.carrier ?? this.socket);
		this.limitSilence();
	}

	protected unpause(): void {
		if (!this.paused) return;
		this.paused = false;
		this.core.probe.forget(this.socket);
		this.socket.resume();
	}

	private clientEnded(): void {
		this.ended = true;
		if (this.state === HEAD) this.closeGently(false);
		if (this.state !== DECIDING && this.state !== BUSY) return;
		// libuv tells of an end where a reset came together with the last bytes.
		this.core.probe.watch(this.socket, this.options.carrier ?? this.socket);
		if (this.state === BUSY) this.halfClosed();
	}

	/** No request is begun with these bytes. */
	private reject(response: LocalResponse, method = "GET"): void {
		this.socket.write(localMessage(response, method, "Connection: close\r\n"));
		this.closeGently(false);
	}

	/** Closes so that the client sees the last response whatever it is still sending (RFC 9112 §9.6). `clean`: it sends nothing. */
	protected closeGently(clean: boolean): void {
		const { socket } = this;
		this.state = CLOSING;
		this.pending = undefined;
		if (clean && !this.options.secure && socket.writableLength === 0) {
			this.destroy();
			return;
		}
		this.core.wheel.set(this, this.core.timeouts.idleBody);
		socket.end(() => {
			if (this.state === CLOSING) this.core.wheel.set(this, this.core.timeouts.linger);
		});
		this.unpause();
	}

	protected gone(): void {
		const { state } = this;
		if (state === GONE) return;
		this.state = GONE;
		this.core.wheel.remove(this);
		this.core.probe.forget(this.socket);
		this.pending = undefined;
		this.abandon(state);
		this.whenGone();
	}

	/** Leaves the connection to somebody else, as if nothing had been read from it. */
	private letGo(bytes: Buffer): void {
		this.state = GONE;
		this.pending = undefined;
		this.core.wheel.remove(this);
		this.whenGone();
		const { socket } = this;
		socket.off("data", this.onData).off("drain", this.onDrain).off("end", this.onEnd);
		socket.off("error", this.onEnded).off("close", this.onEnded);
		socket.allowHalfOpen = false;
		// Still flowing: what is put back comes out again before anything new is read.
		socket.unshift(bytes);
	}
}
