/** One request on its way to a box and its response on the way back, whichever HTTP version the client speaks. */
import type { LocalResponse, ProxyDecision, RequestInfo, UpstreamFailure } from "../decision.js";
import type { BodySink } from "./body-reader.js";
import { latin1 } from "./codec/chars.js";
import { CRLF, chunkLine, type Trailers } from "./codec/chunked.js";
import type { ResponseHead } from "./codec/response-head.js";
import { forwardedTrailers, lastChunk } from "./codec/rewrite.js";
import type { Core } from "./core.js";
import type { Slab } from "./slabs.js";
import type { Upstream } from "./upstream.js";

/** Up to this many bytes go as text in one write with the head: text needs no care for who owns its memory. */
export const SMALL = 12 * 1024;

/** The client's side of an exchange. What returns a boolean tells whether more may come at once. */
export interface Downstream {
	/** A 1xx other than 101. */
	interim(head: ResponseHead): void;
	/** `bytes` belong to somebody else: they are written or copied before this returns. */
	respond(head: ResponseHead, bytes: Buffer, start: number, end: number, done: boolean, trailers?: Trailers): boolean;
	/** The same, except that bytes of a `slab` may be kept as long as a write is counted in it. */
	data(bytes: Buffer, slab: Slab | undefined, start: number, end: number, done: boolean, trailers?: Trailers): boolean;
	/** 101 with the first bytes of the other protocol. From then on `data` is raw. */
	switched(head: ResponseHead, bytes: Buffer, start: number, end: number): boolean;
	/** The response is complete and the upstream connection is somebody else's. */
	completed(): void;
	/** Nothing of a response has left: say this instead. */
	refuse(response: LocalResponse): void;
	/** Part of the response has left, the rest will not come. */
	breakOff(): void;
	/** The box sends nothing more on an upgraded connection. */
	endUpgrade(): void;
	/** The box takes more of the request body. */
	resumeRequest(): void;
}

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export class Exchange implements BodySink {
	readonly method: string;
	/** The whole request was given to the upstream connection. */
	requestDone = false;
	/** A final response head was forwarded. */
	answered = false;
	bytesFromClient = 0;
	bytesToClient = 0;
	/** The `Upgrade` that was forwarded, empty without one. */
	upgradeProtocol = "";
	private reached = false;
	upgraded = false;
	private upstream: Upstream | undefined;
	/** All that was written so far, while it can be written again. */
	private replay: string | undefined;
	/** Written together with what comes next. */
	private held = "";
	private holding = true;
	private retried = false;

	constructor(
		private readonly core: Core,
		private readonly downstream: Downstream,
		request: RequestInfo,
		readonly decision: ProxyDecision,
		/** The request body is chunked; else it has the length that its head tells. */
		private readonly chunked: boolean,
	) {
		this.method = request.method;
	}

	/** Begins with the head. Until `flush`, writes are gathered. */
	begin(head: string): void {
		this.held = head;
		this.upstream = this.core.pool.acquire(this.decision, false);
		this.upstream?.begin(this);
	}

	body(chunk: Buffer): boolean {
		this.bytesFromClient += chunk.length;
		if (this.reached) this.decision.activity?.();
		const framed = this.chunked && !this.upgraded;
		if (!framed && !this.holding) {
			this.replay = undefined;
			return this.upstream?.sendBytes(chunk) ?? true;
		}
		if (chunk.length <= SMALL) {
			const text = latin1(chunk, 0, chunk.length);
			return this.write(framed ? chunkLine(chunk.length) + text + CRLF : text);
		}
		this.replay = undefined;
		const { upstream } = this;
		if (upstream === undefined) return true;
		upstream.cork();
		const before = framed ? this.held + chunkLine(chunk.length) : this.held;
		if (before !== "") upstream.send(before);
		this.holding = false;
		this.held = "";
		let proceed = upstream.sendBytes(chunk);
		if (framed) proceed = upstream.send(CRLF);
		upstream.uncork();
		return proceed;
	}

	bodyEnd(trailers: Trailers | undefined): void {
		if (this.chunked) this.write(lastChunk(forwardedTrailers(trailers, this.decision)));
		this.requestDone = true;
		if (!this.holding) this.upstream?.requestSent();
	}

	/** Sends what was gathered. */
	flush(): void {
		if (this.upstream === undefined) {
			this.fail("busy");
			return;
		}
		if (!this.holding) return;
		this.holding = false;
		this.replay = this.held;
		this.held = "";
		this.upstream.send(this.replay);
		if (this.requestDone) this.upstream.requestSent();
	}

	/** The client has half-closed its connection. */
	halfClose(): void {
		this.upstream?.halfClose();
	}

	resumeResponse(): void {
		this.upstream?.resume();
	}

	/** The client is gone or must go. */
	abort(): void {
		const { upstream } = this;
		this.upstream = undefined;
		this.replay = undefined;
		upstream?.destroy();
	}

	// From here on: what the upstream connection tells.

	/** The connection stands: from now on the request is more than an attempt. */
	connected(): void {
		this.reached = true;
		this.decision.activity?.();
	}

	interim(head: ResponseHead): void {
		this.downstream.interim(head);
	}

	respond(
		head: ResponseHead,
		bytes: Buffer,
		start: number,
		end: number,
		done: boolean,
		trailers: Trailers | undefined,
	): boolean {
		this.answered = true;
		this.replay = undefined;
		this.bytesToClient += end - start;
		this.decision.activity?.();
		return this.downstream.respond(head, bytes, start, end, done, trailers);
	}

	data(
		bytes: Buffer,
		slab: Slab | undefined,
		start: number,
		end: number,
		done: boolean,
		trailers: Trailers | undefined,
	): boolean {
		this.bytesToClient += end - start;
		this.decision.activity?.();
		return this.downstream.data(bytes, slab, start, end, done, trailers);
	}

	switched(head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
		this.answered = true;
		this.upgraded = true;
		this.replay = undefined;
		this.bytesToClient += end - start;
		return this.downstream.switched(head, bytes, start, end);
	}

	resumeRequest(): void {
		this.downstream.resumeRequest();
	}

	upstreamEnded(): void {
		this.downstream.endUpgrade();
	}

	/** The response is complete; a request that is not is nobody's any more. */
	completed(): void {
		this.upstream = undefined;
		this.downstream.completed();
	}

	upstreamFailed(upstream: Upstream, failure: UpstreamFailure): void {
		if (upstream !== this.upstream) return;
		this.upstream = undefined;
		if (this.answered) {
			this.downstream.breakOff();
			return;
		}
		// Not what took too long: the box has it, and may be at it still.
		if (failure === "closed" && this.retry(upstream)) return;
		this.fail(failure);
	}

	/** Nothing of a response has left. */
	private fail(failure: UpstreamFailure): void {
		this.replay = undefined;
		let response: LocalResponse;
		try {
			response = this.decision.failed(failure);
		} catch (error) {
			this.core.unexpected(error);
			this.downstream.breakOff();
			return;
		}
		this.downstream.refuse(response);
	}

	/**
	 * A pooled connection may have been closed by the box before the request got there. Then it is sent once more on a
	 * new connection, if it can have no effect twice or cannot have been seen (RFC 9110 §9.2.2).
	 */
	private retry(upstream: Upstream): boolean {
		const stale = upstream.reused && !upstream.answering && !upstream.dropped;
		if (!stale || this.retried || this.replay === undefined) return false;
		if (!upstream.unsent && !IDEMPOTENT.has(this.method)) return false;
		this.retried = true;
		this.upstream = this.core.pool.acquire(this.decision, true);
		if (this.upstream === undefined) return false;
		this.upstream.begin(this);
		this.upstream.send(this.replay);
		return true;
	}

	private write(text: string): boolean {
		if (this.holding) {
			this.held += text;
			return true;
		}
		this.replay = undefined;
		return this.upstream?.send(text) ?? true;
	}
}
