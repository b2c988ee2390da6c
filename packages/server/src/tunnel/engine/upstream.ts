/** One connection to a port of a devbox: sends what it is given, frames responses, goes back to the pool. */
import * as net from "node:net";
import type { UpstreamFailure } from "../decision.js";
import { LF } from "./codec/chars.js";
import { ChunkedDecoder, type Trailers } from "./codec/chunked.js";
import { INCOMPLETE } from "./codec/fields.js";
import { CHUNKED } from "./codec/request-head.js";
import { type ResponseHead, UNTIL_CLOSE } from "./codec/response-head.js";
import type { Core } from "./core.js";
import type { Exchange } from "./exchange.js";
import type { Target } from "./pool.js";
import { resetConnection } from "./reset.js";
import { HEADROOM, type Slab } from "./slabs.js";
import { NEVER, Timed } from "./wheel.js";

const IDLE = 0;
const HEAD = 1;
const BODY = 2;
const CLOSED = 3;

/** A read at least this long suggests that more will come. */
const LONG_READ = 32 * 1024;
/** Interim responses before the final one; more is a box that never answers. */
const MOST_INTERIM = 64;

export class Upstream extends Timed {
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
	private readonly socket: net.Socket;
	private exchange: Exchange | undefined;
	private state = IDLE;
	private connecting = true;
	private keepAlive = false;
	private halfClosed = false;
	private sawEnd = false;
	private interims = 0;
	private pooledMs = 0;
	/** Of the body: bytes to come, CHUNKED or UNTIL_CLOSE. */
	private left = 0;
	private upgraded = false;
	private decoder: ChunkedDecoder | undefined;
	private partial: Buffer | undefined;
	private slab: Slab;
	private paused = false;
	private lastRead = 0;

	constructor(
		private readonly core: Core,
		readonly target: Target,
	) {
		super();
		this.slab = core.slabs.shared;
		this.socket = net.connect({
			host: target.address,
			port: target.port,
			noDelay: true,
			allowHalfOpen: true,
			onread: {
				buffer: () => this.nextWindow(),
				callback: (size) => this.read(size),
			},
		});
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

	/** What the next read goes into. Asked after each read; undefined, which Node takes for "the same", is cheaper. */
	private nextWindow(): Uint8Array {
		const { slabs } = this.core;
		const { slab } = this;
		if (slab === slabs.shared && this.state !== BODY && this.hasWindow) return SAME;
		const wants = this.wantedSlab();
		if (this.slab !== slabs.shared && (wants === 0 || this.slab.inFlight > 0)) {
			this.slab.release();
			this.slab = slabs.shared;
		}
		if (this.slab === slabs.shared && wants > 0) this.slab = wants > 1 ? slabs.takeLarge() : slabs.takeSmall();
		return this.slab === slab && this.hasWindow ? SAME : this.givenWindow();
	}

	private hasWindow = false;

	private givenWindow(): Uint8Array {
		this.hasWindow = true;
		return this.slab.window;
	}

	/** 0: the shared one, 1: a small one, 2: a large one. A paused connection holds none. */
	private wantedSlab(): number {
		if (this.state !== BODY || this.paused) return 0;
		if (this.left > 0) return this.left < LONG_READ ? 0 : this.left > 4 * LONG_READ ? 2 : 1;
		return this.lastRead < LONG_READ ? 0 : this.lastRead > 2 * LONG_READ - 1 ? 2 : 1;
	}

	private read(size: number): boolean {
		const { slab } = this;
		this.lastRead = size;
		const end = HEADROOM + size;
		const own = slab === this.core.slabs.shared ? undefined : slab;
		let proceed = true;
		if (this.state === HEAD) proceed = this.takeHead(slab.bytes, HEADROOM, end);
		else if (this.state === BODY) proceed = this.takeBody(slab.bytes, HEADROOM, end, own);
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
		this.left = UNTIL_CLOSE;
		this.socket.setKeepAlive(true, 60_000);
		return exchange.switched(head, bytes, start, end);
	}

	private takeFinal(exchange: Exchange, head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
		this.state = BODY;
		this.keepAlive = head.keepAlive;
		this.pooledMs = head.keepAliveSeconds * 1000;
		this.left = head.bodyLength;
		if (this.left === CHUNKED) this.decoder = new ChunkedDecoder(this.core.limits);
		if (!this.unframe(bytes, start, end)) return this.fail("bad_response", false);
		const more = exchange.respond(head, bytes, this.dataStart, this.dataEnd, this.done, this.trailers);
		if (this.done && this.state === BODY) this.finish();
		return more;
	}

	private takeBody(bytes: Buffer, start: number, end: number, slab: Slab | undefined): boolean {
		const exchange = this.exchange!;
		if (!this.unframe(bytes, start, end)) return this.fail("bad_response", false);
		const more = exchange.data(bytes, slab, this.dataStart, this.dataEnd, this.done, this.trailers);
		if (this.done && this.state === BODY) this.finish();
		return more;
	}

	// What `unframe` found.
	private dataStart = 0;
	private dataEnd = 0;
	private done = false;
	private trailers: Trailers | undefined;

	/** Finds the body's bytes in what was read. Returns false when the coding is broken. */
	private unframe(bytes: Buffer, start: number, end: number): boolean {
		this.dataStart = start;
		this.dataEnd = end;
		this.done = false;
		this.trailers = undefined;
		if (this.left === UNTIL_CLOSE) return true;
		if (this.left !== CHUNKED) {
			this.dataEnd = start + Math.min(this.left, end - start);
			this.left -= this.dataEnd - start;
			this.done = this.left === 0;
			// Bytes after the end are no response to anything: what was asked is answered, the connection is not used again.
			if (this.dataEnd < end) this.keepAlive = false;
			return true;
		}
		const decoder = this.decoder!;
		if (!decoder.decode(bytes, start, end)) return false;
		this.dataStart = decoder.dataStart;
		this.dataEnd = decoder.dataEnd;
		this.done = decoder.done;
		if (this.done) {
			this.trailers = decoder.trailers;
			if (decoder.position < end) this.keepAlive = false;
		}
		return true;
	}

	/** The response is complete. */
	private finish(): void {
		const exchange = this.exchange!;
		this.exchange = undefined;
		this.decoder = undefined;
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
		} else if (this.state === BODY && this.left === UNTIL_CLOSE) {
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
		if (this.slab !== this.core.slabs.shared) {
			this.slab.release();
			this.slab = this.core.slabs.shared;
		}
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
const SAME = undefined as unknown as Uint8Array;

function connectFailure(code: string | undefined): UpstreamFailure {
	if (code === "ECONNREFUSED") return "refused";
	if (code === "ETIMEDOUT") return "connect_timeout";
	if (code === "ECONNRESET" || code === "EPIPE") return "closed";
	return "unreachable";
}
