/** One connection to a port of a devbox: sends what it is given, frames responses, goes back to the pool. */
import type { Duplex } from "node:stream";
import type { ProxyDecision, UpstreamFailure } from "../decision.js";
import { LF } from "./codec/chars.js";
import { INCOMPLETE } from "./codec/fields.js";
import { BodyFraming } from "./codec/framing.js";
import { type ResponseHead, UNTIL_CLOSE } from "./codec/response-head.js";
import type { Core } from "./core.js";
import type { Exchange } from "./exchange.js";
import type { Target } from "./pool.js";
import { LARGE_OWN, ReadWindow, SHARED, SMALL_OWN } from "./read-window.js";
import { resetConnection } from "./reset.js";
import { HEADROOM, type Slab } from "./slabs.js";
import { keepAlive, openTransport, type Receiver } from "./transport.js";
import { NEVER, Timed } from "./wheel.js";

const IDLE = 0;
const HEAD = 1;
const BODY = 2;
const CLOSED = 3;

/** A read at least this long suggests that more will come. */
const LONG_READ = 32 * 1024;
/** Interim responses before the final one; more is a box that never answers. */
const MOST_INTERIM = 64;

export class Upstream extends Timed implements Receiver {
	/** Where it stands in the target's idle list; -1 outside. */
	idleAt = -1;
	/** It carried a request before the present one: the box may have closed it meanwhile. */
	reused = false;
	/** A byte of the present response arrived. */
	answering = false;
	/** The first write of the present request failed: the box cannot have seen it. */
	unsent = false;
	/** We ended it. */
	dropped = false;
	private readonly socket: Duplex;
	private exchange: Exchange | undefined;
	private state = IDLE;
	private connecting = true;
	private keepAlive = false;
	private halfClosed = false;
	private sawEnd = false;
	private interims = 0;
	private pooledMs = 0;
	private readonly framing = new BodyFraming();
	private upgraded = false;
	private partial: Buffer | undefined;
	private readonly window: ReadWindow;
	private paused = false;
	private lastRead = 0;

	constructor(
		private readonly core: Core,
		readonly target: Target,
		decision: ProxyDecision,
	) {
		super();
		this.window = new ReadWindow(core.slabs);
		this.socket = openTransport(decision, this);
		this.socket.setDefaultEncoding("latin1");
		this.socket.on("connect", () => this.connected());
		this.socket.on("drain", () => this.exchange?.resumeRequest());
		this.socket.on("end", () => this.ended());
		this.socket.on("error", (error: NodeJS.ErrnoException) => this.broke(error));
		this.socket.on("close", () => this.closed());
		core.wheel.set(this, core.timeouts.connect);
	}

	/** Still open both ways, as far as anybody knows. */
	get usable(): boolean {
		return this.state === IDLE && this.socket.writable && this.socket.readable;
	}

	/** What let in the request that it carries. */
	get grant(): string | undefined {
		return this.exchange?.decision.grant;
	}

	/** Takes on a request. */
	begin(exchange: Exchange): void {
		this.exchange = exchange;
		this.state = HEAD;
		this.answering = false;
		this.unsent = false;
		this.interims = 0;
		if (this.connecting) return;
		this.deadline = NEVER;
		exchange.connected();
	}

	send(text: string): boolean {
		return this.socket.write(text);
	}

	/** `chunk` is not touched by anybody until it is sent. */
	sendBytes(chunk: Buffer): boolean {
		return this.socket.write(chunk);
	}

	/** Several writes to come in one. */
	cork(): void {
		this.socket.cork();
	}

	uncork(): void {
		this.socket.uncork();
	}

	/** The request is complete. */
	requestSent(): void {
		if (!this.connecting && this.state === HEAD && !this.answering) {
			this.core.wheel.set(this, this.core.timeouts.firstByte);
		}
	}

	/** The client will send nothing more, and wants the box to know. */
	halfClose(): void {
		this.halfClosed = true;
		this.socket.end();
		if (this.upgraded) this.finishUpgrade();
	}

	resume(): void {
		if (!this.paused) return;
		this.paused = false;
		this.socket.resume();
	}

	/** Ends it without telling the exchange. A box must not take an aborted upgrade for one that ended well. */
	destroy(): void {
		this.exchange = undefined;
		if (this.upgraded && this.state !== CLOSED) resetConnection(this.socket);
		this.close();
	}

	/** Ends it; a request that it carries fails and is not tried again. */
	drop(): void {
		this.dropped = true;
		if (this.upgraded && this.state !== CLOSED) resetConnection(this.socket);
		this.fail("closed", false);
	}

	override expired(): void {
		if (this.connecting) this.fail("connect_timeout", false);
		else if (this.state === HEAD) this.fail("response_timeout", false);
		else if (this.state === IDLE) this.close();
	}

	private connected(): void {
		this.connecting = false;
		this.deadline = NEVER;
		this.exchange?.connected();
		if (this.exchange?.requestDone === true) this.requestSent();
	}

	nextWindow(): Uint8Array {
		return this.window.next(this.wantedWindow());
	}

	/** A paused connection holds no memory. */
	private wantedWindow(): number {
		if (this.state !== BODY || this.paused) return SHARED;
		const { left } = this.framing;
		if (left > 0) return left < LONG_READ ? SHARED : left > 4 * LONG_READ ? LARGE_OWN : SMALL_OWN;
		return this.lastRead < LONG_READ ? SHARED : this.lastRead > 2 * LONG_READ - 1 ? LARGE_OWN : SMALL_OWN;
	}

	read(size: number): boolean {
		this.lastRead = size;
		const { slab, own } = this.window;
		return this.take(slab.bytes, HEADROOM, HEADROOM + size, own);
	}

	readChunk(chunk: Buffer): boolean {
		return this.take(chunk, 0, chunk.length, undefined);
	}

	private take(bytes: Buffer, start: number, end: number, slab: Slab | undefined): boolean {
		let proceed = true;
		if (this.state === HEAD) proceed = this.takeHead(bytes, start, end);
		else if (this.state === BODY) proceed = this.takeBody(bytes, start, end, slab);
		// Bytes that nobody asked for: what they would answer is anybody's guess.
		else this.close();
		this.paused = !proceed && this.state === BODY;
		return !this.paused;
	}

	private takeHead(arrived: Buffer, from: number, to: number): boolean {
		let [bytes, start, end] = [arrived, from, to];
		this.answering = true;
		this.deadline = NEVER;
		if (this.partial !== undefined) {
			bytes = Buffer.concat([this.partial, arrived.subarray(from, to)]);
			[start, end] = [0, bytes.length];
			this.partial = bytes;
			// Only a line's end can change the answer, so a trickle of bytes is not parsed over and over.
			if (end < this.core.limits.headBytes && !arrived.subarray(from, to).includes(LF)) return true;
		}
		const head = this.core.responseHead;
		const exchange = this.exchange!;
		for (;;) {
			const next = head.parse(bytes, start, end, this.core.limits, exchange.method);
			if (next === INCOMPLETE) {
				this.partial = Buffer.from(bytes.subarray(start, end));
				return true;
			}
			if (next < 0 || ++this.interims > MOST_INTERIM) return this.fail("bad_response", false);
			this.partial = undefined;
			if (head.status === 101) return this.takeSwitch(exchange, head, bytes, next, end);
			if (head.status >= 200) return this.takeFinal(exchange, head, bytes, next, end);
			exchange.interim(head);
			if (next === end) return true;
			start = next;
		}
	}

	private takeSwitch(exchange: Exchange, head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
		if (!exchange.requestDone || !head.switchesTo(exchange.upgradeProtocol)) return this.fail("bad_response", false);
		this.state = BODY;
		this.upgraded = true;
		this.core.pool.upgrades++;
		this.keepAlive = false;
		this.framing.begin(UNTIL_CLOSE, this.core.limits);
		keepAlive(this.socket);
		return exchange.switched(head, bytes, start, end);
	}

	private takeFinal(exchange: Exchange, head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
		this.state = BODY;
		this.keepAlive = head.keepAlive;
		this.pooledMs = head.keepAliveSeconds * 1000;
		this.framing.begin(head.bodyLength, this.core.limits);
		if (!this.unframe(bytes, start, end)) return this.fail("bad_response", false);
		const { dataStart, dataEnd, left, trailers } = this.framing;
		const more = exchange.respond(head, bytes, dataStart, dataEnd, left === 0, trailers);
		if (left === 0 && this.state === BODY) this.finish();
		return more;
	}

	private takeBody(bytes: Buffer, start: number, end: number, slab: Slab | undefined): boolean {
		const exchange = this.exchange!;
		if (!this.unframe(bytes, start, end)) return this.fail("bad_response", false);
		const { dataStart, dataEnd, left, trailers } = this.framing;
		const more = exchange.data(bytes, slab, dataStart, dataEnd, left === 0, trailers);
		if (left === 0 && this.state === BODY) this.finish();
		return more;
	}

	/** Finds the body's bytes in what was read. Returns false when the coding is broken. */
	private unframe(bytes: Buffer, start: number, end: number): boolean {
		const { framing } = this;
		if (!framing.take(bytes, start, end)) return false;
		// Bytes after the end are no response to anything: what was asked is answered, the connection is not used again.
		if (framing.next < end) this.keepAlive = false;
		return true;
	}

	/** The response is complete. */
	private finish(): void {
		const exchange = this.exchange!;
		this.exchange = undefined;
		this.release(exchange.requestDone);
		exchange.completed();
	}

	private release(requestDone: boolean): void {
		const usable = this.keepAlive && requestDone && !this.halfClosed && this.socket.writable && this.socket.readable;
		this.state = IDLE;
		if (!usable || this.socket.writableLength > 0 || !this.core.pool.put(this)) {
			this.close();
			return;
		}
		this.reused = true;
		// A box that tells when it will close is left a second earlier, so that no request meets its FIN.
		const most = this.core.timeouts.pooled;
		const told = this.pooledMs === 0 ? most : Math.max(this.pooledMs - 1000, 500);
		this.core.wheel.set(this, most === 0 ? told : Math.min(most, told));
	}

	private ended(): void {
		if (this.state === BODY && this.upgraded) {
			this.sawEnd = true;
			this.exchange?.upstreamEnded();
			this.finishUpgrade();
		} else if (this.state === BODY && this.framing.left === UNTIL_CLOSE) {
			const exchange = this.exchange!;
			exchange.data(EMPTY, undefined, 0, 0, true, undefined);
			if (this.state === BODY) this.finish();
		} else this.fail("closed", false);
	}

	/** Both sides of an upgraded connection said that they are done; what is still under way is delivered. */
	private finishUpgrade(): void {
		if (!this.sawEnd || !this.halfClosed || this.exchange === undefined) return;
		const { exchange } = this;
		this.exchange = undefined;
		this.state = IDLE;
		this.core.wheel.set(this, this.core.timeouts.idleBody);
		exchange.completed();
	}

	private broke(error: NodeJS.ErrnoException): void {
		const unsent = error.code === "EPIPE" && !this.answering;
		this.fail(this.connecting ? connectFailure(error.code) : "closed", unsent);
	}

	private closed(): void {
		this.fail("closed", false);
		// Only now has the kernel let go of what was being sent from it.
		this.window.release();
	}

	/** Always false, for whoever asks whether to go on reading. */
	private fail(failure: UpstreamFailure, unsent: boolean): false {
		const exchange = this.exchange;
		this.exchange = undefined;
		this.unsent = unsent;
		this.close();
		exchange?.upstreamFailed(this, failure);
		return false;
	}

	private close(): void {
		if (this.state === CLOSED) return;
		this.state = CLOSED;
		if (this.upgraded) this.core.pool.upgrades--;
		this.core.wheel.remove(this);
		this.core.pool.remove(this);
		this.socket.destroy();
	}
}

const EMPTY = Buffer.alloc(0);

function connectFailure(code: string | undefined): UpstreamFailure {
	if (code === "ECONNREFUSED") return "refused";
	if (code === "ETIMEDOUT") return "connect_timeout";
	if (code === "ECONNRESET" || code === "EPIPE") return "closed";
	return "unreachable";
}
