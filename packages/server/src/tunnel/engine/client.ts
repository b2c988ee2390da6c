/** One client that speaks HTTP/1.1: has its requests decided and carried out, one after the other. */
import type { BodyRequest, Decision, LocalResponse, ProxyDecision } from "../decision.js";
import { BodyReader, type BodySink } from "./body-reader.js";
import type { Trailers } from "./codec/chunked.js";
import { BodyFraming } from "./codec/framing.js";
import { CHUNKED, type RequestHead } from "./codec/request-head.js";
import { type ResponseHead, UNTIL_CLOSE } from "./codec/response-head.js";
import { forwardedRequestHead } from "./codec/rewrite.js";
import { BUSY, CLOSING, Connection, DECIDING, GONE, HEAD } from "./connection.js";
import { type Downstream, Exchange } from "./exchange.js";
import { localMessage } from "./local.js";
import { endDecision, report } from "./record.js";
import { resetConnection } from "./reset.js";
import { ResponseWriter } from "./response-writer.js";
import type { Slab } from "./slabs.js";
import { NEVER } from "./wheel.js";

export class Client extends Connection implements Downstream {
	private head: RequestHead | undefined;
	private exchange: Exchange | undefined;
	/** What takes the request body: the exchange, or a reader. */
	private sink: BodySink | undefined;
	/** What was said in place of a box's response. */
	private local: LocalResponse | undefined;
	/** Of the request body; without end after an upgrade. */
	private readonly framing = new BodyFraming();
	private readonly writer = new ResponseWriter(this.core, this.socket);
	/** The client said that this request is its last. */
	private closeAsked = false;
	private began = 0;
	private status = 0;

	// The request.

	protected override begin(head: RequestHead): void {
		const { core } = this;
		this.deadline = NEVER;
		this.state = DECIDING;
		this.head = head;
		this.closeAsked = head.connection.close;
		this.status = 0;
		this.framing.begin(head.bodyLength, core.limits);
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
		// With nobody left to be told, that is why it was given up.
		if (this.state === GONE) return;
		this.core.unexpected(error);
		this.exchange?.abort();
		if (this.exchange?.answered === true) this.breakOff();
		else this.refuse(this.core.refuse(500, this.head));
	}

	private decided(head: RequestHead, decision: Decision): void {
		if (this.state !== DECIDING) {
			endDecision(this.core, decision);
			return;
		}
		this.state = BUSY;
		if (decision.kind === "respond") this.refuse(decision);
		else if (decision.kind === "read") this.read(head, decision);
		else this.proxy(head, decision);
	}

	private proxy(head: RequestHead, decision: ProxyDecision): void {
		const exchange = new Exchange(this.core, this, head, decision, this.framing.left === CHUNKED);
		this.exchange = exchange;
		this.sink = exchange;
		if (head.upgrade) exchange.upgradeProtocol = head.upgradeProtocol;
		exchange.begin(forwardedRequestHead(head, decision));
		if (this.framing.left === 0) exchange.bodyEnd(undefined);
		else this.feed();
		// A body that is no body has ended it.
		if (this.exchange !== exchange) return;
		if (this.framing.left !== 0 || this.paused || this.ended) this.limitSilence();
		exchange.flush();
	}

	private read(head: RequestHead, request: BodyRequest): void {
		const reader = new BodyReader(this.core, request, head.bodyLength);
		this.sink = reader;
		reader.response.then((response) => this.refuse(response)).catch((error: unknown) => this.undecided(error));
		if (this.framing.left === 0) {
			reader.bodyEnd();
			return;
		}
		// RFC 9110 §10.1.1: not when the body is on its way already.
		if (head.expectsContinue && head.minor === 1 && this.pending === undefined && head.bodyLength <= request.limit) {
			this.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
		}
		this.limitSilence();
		this.feed();
	}

	protected override receive(chunk: Buffer): void {
		const wanted = this.state === BUSY && this.framing.left !== 0 && this.pending === undefined;
		this.queue(wanted ? this.readBody(chunk) : chunk);
	}

	/** Gives what is pending to the request body, and lets the rest of it come. */
	private feed(): void {
		if (this.framing.left === 0) return;
		const chunk = this.pending;
		this.pending = undefined;
		this.unpause();
		if (chunk !== undefined) this.queue(this.readBody(chunk));
	}

	/** Takes the part of `chunk` that belongs to the request body; returns the rest. */
	private readBody(chunk: Buffer): Buffer | undefined {
		const { framing } = this;
		const sink = this.sink!;
		this.limitSilence();
		if (!framing.take(chunk, 0, chunk.length)) {
			this.badBody();
			return undefined;
		}
		const { dataStart, dataEnd, next } = framing;
		const size = dataEnd - dataStart;
		let proceed = true;
		if (size > 0) proceed = sink.body(size === chunk.length ? chunk : chunk.subarray(dataStart, dataEnd));
		if (framing.left === 0) {
			sink.bodyEnd(framing.trailers);
			if (!sink.answered && !this.ended) this.deadline = NEVER;
		} else if (!proceed) this.pause();
		return next < chunk.length ? chunk.subarray(next) : undefined;
	}

	private badBody(): void {
		this.exchange?.abort();
		if (this.exchange?.answered === true) this.breakOff();
		else this.refuse(this.core.refuse(400));
	}

	protected override limitSilence(): void {
		// Whoever decides has a limit of its own.
		if (this.state === DECIDING) return;
		const { idleUpgrade, idleBody, halfClosed } = this.core.timeouts;
		// A paused socket does not see its client leave, so not even an upgraded connection may stay that way for ever.
		this.core.wheel.set(this, this.ended ? halfClosed : this.upgraded && !this.paused ? idleUpgrade : idleBody);
	}

	protected override silent(): void {
		if (this.exchange?.answered === true) {
			this.breakOff();
			return;
		}
		this.exchange?.abort();
		this.keep = false;
		this.refuse(this.core.refuse(408));
	}

	protected override halfClosed(): void {
		// With another request behind it, the end is about that one. Still there may be nobody left.
		if (this.pending !== undefined) {
			this.limitSilence();
			return;
		}
		if (this.framing.left !== 0 && !this.upgraded) {
			this.badBody();
			return;
		}
		this.limitSilence();
		this.exchange?.halfClose();
	}

	protected override abandon(state: number): void {
		if (state === DECIDING) this.head!.gone(this.core.unexpected);
		this.exchange?.abort();
		if (state === DECIDING || state === BUSY) this.finished("aborted");
	}

	resumeRequest(): void {
		if (this.state !== BUSY || !this.paused) return;
		if (this.framing.left !== 0) this.feed();
		// With the body over, what waits is another request: it goes on waiting.
		else if (this.pending === undefined) this.unpause();
		if (this.upgraded) this.limitSilence();
	}

	// The response.

	private get upgraded(): boolean {
		return this.framing.left === UNTIL_CLOSE;
	}

	private get oldClient(): boolean {
		return this.head?.minor === 0;
	}

	/** Decides whether the connection goes on, and tells. */
	private connectionLine(): string {
		// While some of the request is still to come, where the next one begins is not to be guessed.
		if (this.framing.left !== 0 || this.ended || this.core.closing || this.writer.untilClose) this.keep = false;
		return !this.keep ? "Connection: close\r\n" : this.oldClient ? "Connection: keep-alive\r\n" : "";
	}

	interim(head: ResponseHead): void {
		if (!this.oldClient) this.writer.interim(head, this.exchange!.decision);
	}

	respond(head: ResponseHead, bytes: Buffer, start: number, end: number, done: boolean, trailers?: Trailers): boolean {
		const { writer } = this;
		this.status = head.status;
		writer.frame(head, this.oldClient);
		if (!done) this.limitSilence();
		const { decision } = this.exchange!;
		return writer.respond(head, decision, this.connectionLine(), bytes, start, end, done, trailers);
	}

	data(bytes: Buffer, slab: Slab | undefined, start: number, end: number, done: boolean, trailers?: Trailers): boolean {
		if (!done) this.limitSilence();
		return this.writer.write("", bytes, slab, start, end, done, trailers);
	}

	switched(head: ResponseHead, bytes: Buffer, start: number, end: number): boolean {
		this.status = 101;
		this.framing.begin(UNTIL_CLOSE, this.core.limits);
		this.keep = false;
		this.socket.setKeepAlive(true, 60_000);
		this.limitSilence();
		const proceed = this.writer.switched(head, this.exchange!.decision, bytes, start, end);
		// A client may have spoken the new protocol already; it is the box's to judge that.
		this.feed();
		if (this.ended) this.exchange?.halfClose();
		return proceed;
	}

	completed(): void {
		this.finished("completed");
		if (!this.keep || this.framing.left !== 0 || this.ended) {
			this.closeGently(this.framing.left === 0 && this.pending === undefined && this.closeAsked);
			return;
		}
		this.state = HEAD;
		this.head = undefined;
		// A client that does not read its responses gets no further ones.
		if (this.socket.writableNeedDrain) this.pause();
		else this.next();
	}

	refuse(response: LocalResponse): void {
		if (this.state === GONE || this.state === CLOSING) return;
		this.status = response.status;
		this.local = response;
		let message: Buffer;
		try {
			message = localMessage(response, this.head?.method ?? "GET", this.connectionLine());
		} catch (error) {
			this.core.unexpected(error);
			this.breakOff();
			return;
		}
		this.socket.write(message);
		this.completed();
	}

	breakOff(): void {
		if (this.state === GONE) return;
		// An end would look like the end of the response where nothing else marks it.
		if (this.writer.untilClose || this.upgraded) resetConnection(this.socket);
		else this.socket.destroy();
		this.gone();
	}

	endUpgrade(): void {
		this.core.wheel.set(this, this.core.timeouts.halfClosed);
		this.socket.end();
	}

	protected override drained(): void {
		if (this.state === BUSY) this.exchange?.resumeResponse();
		else if (this.state === HEAD) this.next();
	}

	private finished(outcome: "completed" | "aborted"): void {
		const { core, exchange, head, local } = this;
		this.exchange = undefined;
		this.sink = undefined;
		this.local = undefined;
		if (core.finished !== undefined && head !== undefined) {
			report(core, exchange, head, this.status, this.began, outcome, local);
		}
		if (exchange !== undefined) endDecision(core, exchange.decision);
	}
}
