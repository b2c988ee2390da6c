/** One HTTP/1.1 connection of a client: reads requests one after the other, writes responses in the same order. */
import type * as net from "node:net";
import type { Decision, LocalResponse, RequestInfo } from "../decision.js";
import { LF } from "./codec/chars.js";
import { ChunkedDecoder, type Trailers } from "./codec/chunked.js";
import { INCOMPLETE, REQUEST_ID } from "./codec/fields.js";
import { CHUNKED, RequestHead } from "./codec/request-head.js";
import { type ResponseHead, UNTIL_CLOSE } from "./codec/response-head.js";
import {
	forwardedRequestHead,
	forwardedResponseHead,
	forwardedTrailers,
	lastChunk,
	switchingResponseHead,
} from "./codec/rewrite.js";
import type { Core } from "./core.js";
import { type Downstream, Exchange, SMALL } from "./exchange.js";
import { localMessage, refusal } from "./local.js";
import { writeBody } from "./output.js";
import { report } from "./record.js";
import { resetConnection } from "./reset.js";
import type { Slab } from "./slabs.js";
import { NEVER, Timed } from "./wheel.js";

/** Between requests, or within a head. */
const HEAD = 0;
/** `decide` is thinking. */
const DECIDING = 1;
/** A request is being answered. */
const BUSY = 2;
/** The last response is written; what the client still sends is thrown away. */
const CLOSING = 3;
const GONE = 4;

/** A client that goes on sending after it was told to stop is cut off. */
const MOST_LINGERING = 1024 * 1024;

export interface ClientOptions {
	readonly secure: boolean;
	/** Default: what the socket says. */
	readonly peerAddress?: string;
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

export class Client extends Timed implements Downstream {
	private state = HEAD;
	/** Read but not used up. */
	private pending: Buffer | undefined;
	private head: RequestHead | undefined;
	private exchange: Exchange | undefined;
	/** What was said in place of a box's response. */
	private local: LocalResponse | undefined;
	/** Of the request body: bytes to come, CHUNKED, or UNTIL_CLOSE after an upgrade. */
	private left = 0;
	private decoder: ChunkedDecoder | undefined;
	private keep = true;
	/** The client said that this request is its last. */
	private closeAsked = false;
	/** The client has half-closed. */
	private ended = false;
	private paused = false;
	/** The response body is being sent as chunks. */
	private chunked = false;
	/** The response ends with the connection. */
	private untilClose = false;
	private parsing = false;
	private lingered = 0;
	private began = 0;
	private status = 0;
	// Kept one by one to be taken off again: connections are many, so each has only what it needs.
	private readonly onData = (chunk: Buffer) => this.arrived(chunk);
	private readonly onDrain = () => this.drained();
	private readonly onEnd = () => this.clientEnded();
	private readonly onEnded = () => this.gone();

	constructor(
		private readonly core: Core,
		readonly socket: net.Socket,
		private readonly options: ClientOptions,
		readonly peerAddress: string,
		private readonly onGone: (client: Client) => void,
	) {
		super();
		socket.allowHalfOpen = true;
		socket.on("data", this.onData).on("drain", this.onDrain).on("end", this.onEnd);
		socket.on("error", this.onEnded).on("close", this.onEnded);
		core.wheel.set(this, core.timeouts.head);
	}

	/** Bytes came from the client. */
	arrived(chunk: Buffer): void {
		if (this.state === HEAD) this.readHeads(chunk);
		else if (this.state === BUSY && this.left !== 0 && this.pending === undefined) this.queue(this.readBody(chunk));
		else if (this.state === CLOSING) {
			this.lingered += chunk.length;
			if (this.lingered > MOST_LINGERING) this.socket.destroy();
		} else if (this.state !== GONE) this.queue(chunk);
	}

	/** No new requests; a connection that waits for one is closed. */
	stop(): void {
		this.keep = false;
		if (this.state === HEAD && this.pending === undefined) this.closeGently();
	}

	destroy(): void {
		this.socket.destroy();
		this.gone();
	}

	override expired(): void {
		if (this.state === HEAD && this.pending !== undefined) this.reject(408);
		else if (this.state === HEAD) this.closeGently();
		else if (this.state !== BUSY || this.exchange?.answered === true) this.breakOff();
		else {
			this.exchange?.abort();
			this.keep = false;
			this.refuse(refusal(408));
		}
	}

	// Reading.

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
				if (head !== INCOMPLETE) this.reject(-head);
				// The time for a head runs from its first byte, not from its latest.
				else if (!running) this.core.wheel.set(this, this.core.timeouts.head);
				break;
			}
			running = false;
			this.pending = head.end < bytes.length ? bytes.subarray(head.end) : undefined;
			this.begin(head, bytes);
		}
		this.parsing = false;
	}

	private begin(head: RequestHead, bytes: Buffer): void {
		const { core } = this;
		const { secure, ours, handOver } = this.options;
		if (ours !== undefined && !ours(head)) {
			if (handOver !== undefined) {
				this.letGo(bytes);
				handOver(this.socket);
				return;
			}
			this.reject(421);
			return;
		}
		this.deadline = NEVER;
		this.state = DECIDING;
		this.head = head;
		this.closeAsked = head.connection.close;
		this.status = 0;
		head.secure = secure;
		head.peerAddress = this.peerAddress;
		this.left = head.bodyLength;
		if (this.left === CHUNKED) this.decoder = new ChunkedDecoder(core.limits);
		this.keep = head.keepAlive && !core.closing;
		if (core.finished !== undefined) this.began = performance.now();
		try {
			const decision = core.decide(head);
			if (!(decision instanceof Promise)) {
				this.decided(head, decision);
				return;
			}
			head.detach();
			decision.then((made) => this.decided(head, made)).catch((error: unknown) => this.undecided(error));
		} catch (error) {
			this.undecided(error);
		}
	}

	private undecided(error: unknown): void {
		this.core.unexpected(error);
		this.exchange?.abort();
		if (this.exchange?.answered === true) this.breakOff();
		else this.refuse(refusal(500));
	}

	private decided(head: RequestHead, decision: Decision): void {
		if (this.state !== DECIDING) return;
		this.state = BUSY;
		if (decision.kind === "respond") {
			this.refuse(decision);
			return;
		}
		const chunked = this.left === CHUNKED;
		const text = forwardedRequestHead(head, decision);
		const exchange = new Exchange(this.core, this, head, decision, chunked);
		this.exchange = exchange;
		if (head.upgrade) exchange.upgradeProtocol = head.upgradeProtocol;
		exchange.begin(text);
		if (this.left === 0) exchange.bodyEnd(undefined);
		else {
			this.limitSilence();
			if (this.pending !== undefined) this.feed();
		}
		if (this.ended) this.limitSilence();
		exchange.flush();
	}

	/** Gives what is pending to the request body. */
	private feed(): void {
		const chunk = this.pending;
		if (chunk === undefined || this.left === 0) return;
		this.pending = undefined;
		this.queue(this.readBody(chunk));
	}

	/** Takes the part of `chunk` that belongs to the request body; returns the rest. */
	private readBody(chunk: Buffer): Buffer | undefined {
		const exchange = this.exchange!;
		this.limitSilence();
		let [start, end, next] = [0, chunk.length, chunk.length];
		if (this.left === CHUNKED) {
			const decoder = this.decoder!;
			if (!decoder.decode(chunk, 0, end)) {
				this.badBody();
				return undefined;
			}
			[start, end, next] = [decoder.dataStart, decoder.dataEnd, decoder.position];
			if (decoder.done) this.left = 0;
		} else if (this.left > 0) {
			next = end = Math.min(this.left, end);
			this.left -= end;
		}
		let proceed = true;
		if (end > start) proceed = exchange.body(end - start === chunk.length ? chunk : chunk.subarray(start, end));
		if (this.left === 0) {
			exchange.bodyEnd(this.decoder?.trailers);
			this.decoder = undefined;
			if (!exchange.answered && !this.ended) this.deadline = NEVER;
		} else if (!proceed) this.pause();
		return next < chunk.length ? chunk.subarray(next) : undefined;
	}

	/** How long nothing may move from now on. */
	private limitSilence(): void {
		const { idleUpgrade, idleBody, halfClosed } = this.core.timeouts;
		// A paused socket does not see its client leave, so not even an upgraded connection may stay that way for ever.
		this.core.wheel.set(this, this.ended ? halfClosed : this.upgraded && !this.paused ? idleUpgrade : idleBody);
	}

	private badBody(): void {
		this.exchange?.abort();
		if (this.exchange?.answered === true) this.breakOff();
		else this.refuse(refusal(400));
	}

	private queue(rest: Buffer | undefined): void {
		if (rest === undefined || this.state === GONE || this.state === CLOSING) return;
		this.pending = this.pending === undefined ? rest : Buffer.concat([this.pending, rest]);
		if (this.pending.length >= this.core.limits.pipelinedBytes) this.pause();
	}

	private pause(): void {
		if (this.paused) return;
		this.paused = true;
		this.socket.pause();
		this.limitSilence();
	}

	private unpause(): void {
		if (!this.paused) return;
		this.paused = false;
		this.socket.resume();
	}

	private clientEnded(): void {
		this.ended = true;
		if (this.state === HEAD) {
			this.closeGently();
			return;
		}
		if (this.state !== BUSY) return;
		// With another request behind it, the end is about that one. Still there may be nobody left.
		if (this.pending !== undefined) {
			this.limitSilence();
			return;
		}
		if (this.left !== 0 && !this.upgraded) {
			this.badBody();
			return;
		}
		this.limitSilence();
		this.exchange?.halfClose();
	}

	private gone(): void {
		if (this.state === GONE) return;
		const busy = this.state === BUSY || this.state === DECIDING;
		this.state = GONE;
		this.core.wheel.remove(this);
		this.pending = undefined;
		this.exchange?.abort();
		if (busy) this.finished("aborted");
		this.onGone(this);
	}

	/** Leaves the connection to somebody else, as if nothing had been read from it. */
	private letGo(bytes: Buffer): void {
		this.state = GONE;
		this.pending = undefined;
		this.core.wheel.remove(this);
		this.onGone(this);
		const { socket } = this;
		socket.off("data", this.onData).off("drain", this.onDrain).off("end", this.onEnd);
		socket.off("error", this.onEnded).off("close", this.onEnded);
		socket.allowHalfOpen = false;
		// Still flowing: what is put back comes out again before anything new is read.
		socket.unshift(bytes);
	}

	// Writing.

	private get upgraded(): boolean {
		return this.left === UNTIL_CLOSE;
	}

	interim(head: ResponseHead): void {
		if (this.head?.minor === 1) this.socket.write(forwardedResponseHead(head, 0, ""), "latin1");
	}

	respond(head: ResponseHead, bytes: Buffer, start: number, end: number, done: boolean, trailers?: Trailers): boolean {
		const old = this.head?.minor === 0;
		// The client has not sent all of its request: where the next one begins is not to be guessed.
		if (this.left !== 0 || this.ended || this.core.closing) this.keep = false;
		let framing = head.bodyLength;
		this.chunked = framing < 0 && !old;
		this.untilClose = framing < 0 && old;
		if (this.chunked) framing = CHUNKED;
		if (this.untilClose) {
			framing = UNTIL_CLOSE;
			this.keep = false;
		}
		this.status = head.status;
		const connection = !this.keep ? "Connection: close\r\n" : old ? "Connection: keep-alive\r\n" : "";
		// A short body that needs no framing goes with the text of its head.
		const together = !this.chunked && start === head.end && end - start <= SMALL;
		const text = forwardedResponseHead(head, framing, this.requestIdLine() + connection, together ? end : head.end);
		return this.write(text, bytes, undefined, together ? end : start, end, done, trailers);
	}

	private requestIdLine(): string {
		const id = this.exchange!.decision.requestId;
		return id === "" ? "" : `${REQUEST_ID}: ${id}\r\n`;
	}

	data(bytes: Buffer, slab: Slab | undefined, start: number, end: number, done: boolean, trailers?: Trailers): boolean {
		return this.write("", bytes, slab, start, end, done, trailers);
	}

	private write(
		head: string,
		bytes: Buffer,
		slab: Slab | undefined,
		start: number,
		end: number,
		done: boolean,
		trailers: Trailers | undefined,
	): boolean {
		const { core } = this;
		const tail = done && this.chunked ? lastChunk(forwardedTrailers(trailers, undefined)) : "";
		if (!done) this.limitSilence();
		return writeBody(this.socket, core.slabs, head, bytes, slab, start, end, this.chunked, tail);
	}

	switched(head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
		this.status = 101;
		this.left = UNTIL_CLOSE;
		this.chunked = false;
		this.keep = false;
		this.socket.setKeepAlive(true, 60_000);
		const proceed = this.write(
			switchingResponseHead(head, this.requestIdLine()),
			bytes,
			undefined,
			start,
			end,
			false,
			undefined,
		);
		// A client may have spoken the new protocol already; it is the box's to judge that.
		this.feed();
		if (this.ended) this.exchange?.halfClose();
		return proceed;
	}

	completed(): void {
		this.finished("completed");
		if (!this.keep || this.left !== 0 || this.ended) {
			this.closeGently();
			return;
		}
		this.state = HEAD;
		this.head = undefined;
		// A client that does not read its responses gets no further ones.
		if (this.socket.writableNeedDrain) {
			this.pause();
			return;
		}
		this.next();
	}

	private next(): void {
		if (this.core.closing) {
			this.closeGently();
			return;
		}
		this.core.wheel.set(this, this.core.timeouts.keepAlive);
		if (this.pending !== undefined) this.parsePending(false);
		if (this.state === HEAD) this.unpause();
	}

	refuse(response: LocalResponse): void {
		if (this.state === GONE || this.state === CLOSING) return;
		if (this.left !== 0 || this.ended || this.core.closing) this.keep = false;
		this.status = response.status;
		this.local = response;
		const old = this.head?.minor === 0;
		const connection = !this.keep ? "Connection: close\r\n" : old ? "Connection: keep-alive\r\n" : "";
		let message: Buffer;
		try {
			message = localMessage(response, this.head?.method ?? "GET", connection);
		} catch (error) {
			this.core.unexpected(error);
			this.breakOff();
			return;
		}
		this.socket.write(message);
		this.completed();
	}

	/** The bytes are no request that could be answered in its place. */
	private reject(status: number): void {
		this.keep = false;
		this.pending = undefined;
		this.head = undefined;
		this.socket.write(localMessage(refusal(status), "GET", "Connection: close\r\n"));
		this.closeGently();
	}

	breakOff(): void {
		if (this.state === GONE) return;
		// An end would look like the end of the response where nothing else marks it.
		if (this.untilClose || this.upgraded) resetConnection(this.socket);
		else this.socket.destroy();
		this.gone();
	}

	endUpgrade(): void {
		this.core.wheel.set(this, this.core.timeouts.halfClosed);
		this.socket.end();
	}

	resumeRequest(): void {
		if (this.state !== BUSY || !this.paused) return;
		this.feed();
		if (this.pending !== undefined) return;
		this.unpause();
		if (this.upgraded) this.limitSilence();
	}

	private drained(): void {
		if (this.state === BUSY) this.exchange?.resumeResponse();
		else if (this.state === HEAD) this.next();
	}

	/** Closes so that the client sees the last response whatever it is still sending (RFC 9112 §9.6). */
	private closeGently(): void {
		const { socket } = this;
		const clean = this.left === 0 && this.pending === undefined && this.closeAsked;
		this.state = CLOSING;
		this.pending = undefined;
		if (clean && !this.options.secure && socket.writableLength === 0) {
			socket.destroy();
			this.gone();
			return;
		}
		this.core.wheel.set(this, this.core.timeouts.idleBody);
		socket.end(() => {
			if (this.state === CLOSING) this.core.wheel.set(this, this.core.timeouts.linger);
		});
		this.unpause();
	}

	private finished(outcome: "completed" | "aborted"): void {
		const { exchange, head, local } = this;
		this.exchange = undefined;
		this.local = undefined;
		this.chunked = false;
		this.untilClose = false;
		if (this.core.finished === undefined || head === undefined) return;
		report(this.core, exchange, head, this.status, this.began, outcome, local);
	}
}
