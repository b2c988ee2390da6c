/** One request that came over HTTP/2 (RFC 9113 §8), carried to the box as HTTP/1.1. */
import * as http2 from "node:http2";
import type { BodyRequest, Decision, LocalResponse, ProxyDecision } from "../decision.js";
import { BodyReader, type BodySink } from "./body-reader.js";
import type { Trailers } from "./codec/chunked.js";
import { REQUEST_ID } from "./codec/fields.js";
import type { ResponseHead } from "./codec/response-head.js";
import { forwardedTrailers } from "./codec/rewrite.js";
import type { Core } from "./core.js";
import { type Downstream, Exchange } from "./exchange.js";
import { collect, flatten, headersOf, isSound, pairs } from "./http2-fields.js";
import { type Http2Options, Http2Request, text } from "./http2-request.js";
import { allowsBody, httpDate } from "./local.js";
import { endDecision, report } from "./record.js";
import type { Slab } from "./slabs.js";
import { NEVER, Timed } from "./wheel.js";

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

export class Http2Client extends Timed implements Downstream {
	private exchange: Exchange | undefined;
	/** What was said in place of a box's response. */
	private local: LocalResponse | undefined;
	private readonly request: Http2Request;
	private readonly began = performance.now();
	private status = 0;
	/** The decision is awaited. */
	private deciding = false;
	private over = false;
	private requestOpen: boolean;
	private trailers: Trailers = [];

	constructor(
		private readonly core: Core,
		readonly stream: http2.ServerHttp2Stream,
		headers: http2.IncomingHttpHeaders,
		options: Http2Options,
		private readonly left: (client: Http2Client) => void,
	) {
		super();
		this.request = new Http2Request(headers, options);
		this.requestOpen = !stream.readableEnded && !stream.endAfterHeaders;
		stream.on("error", () => this.gone());
		stream.on("aborted", () => this.gone());
		stream.on("close", () => this.gone());
		stream.on("drain", () => this.exchange?.resumeResponse());
		this.begin(text(headers["content-length"]));
	}

	destroy(): void {
		this.stream.close(NGHTTP2_CANCEL);
		this.gone();
	}

	override expired(): void {
		if (this.exchange?.answered === true) {
			this.breakOff();
			return;
		}
		this.exchange?.abort();
		this.refuse(this.core.refuse(408, this.request));
	}

	private begin(length: string): void {
		const { core, request } = this;
		const status = request.check(core);
		if (status !== 0) {
			this.refuse(core.refuse(status, request));
			return;
		}
		this.deciding = true;
		try {
			const decision = core.decide(request);
			if (!(decision instanceof Promise)) {
				this.decided(decision, length);
				return;
			}
			decision.then((made) => this.decided(made, length)).catch((error: unknown) => this.undecided(error));
		} catch (error) {
			this.undecided(error);
		}
	}

	private undecided(error: unknown): void {
		// With nobody left to be told, that is why it was given up.
		if (this.over) return;
		this.core.unexpected(error);
		this.exchange?.abort();
		if (this.exchange?.answered === true) this.breakOff();
		else this.refuse(this.core.refuse(500, this.request));
	}

	private decided(decision: Decision, length: string): void {
		this.deciding = false;
		if (this.over) endDecision(this.core, decision);
		else if (decision.kind === "respond") this.refuse(decision);
		else if (decision.kind === "read") this.read(decision, Number(length));
		else this.proxy(decision, length);
	}

	private read(request: BodyRequest, length: number): void {
		const reader = new BodyReader(this.core, request, length);
		reader.response.then((response) => this.refuse(response)).catch((error: unknown) => this.undecided(error));
		if (!this.requestOpen) {
			reader.bodyEnd();
			return;
		}
		if (length <= request.limit && this.request.expectsContinue) this.stream.additionalHeaders({ ":status": 100 });
		this.readBody(reader);
	}

	private proxy(decision: ProxyDecision, length: string): void {
		const known = /^\d{1,15}$/.test(length);
		const chunked = this.requestOpen && !known;
		const told = known ? length : /^(?:POST|PUT|PATCH)$/.test(this.request.method) ? "0" : "";
		const framing = chunked ? "Transfer-Encoding: chunked\r\n" : told === "" ? "" : `Content-Length: ${told}\r\n`;
		const exchange = new Exchange(this.core, this, this.request, decision, chunked);
		this.exchange = exchange;
		exchange.begin(this.request.forwarded(decision, framing));
		if (this.requestOpen) this.readBody(exchange);
		else exchange.bodyEnd(undefined);
		exchange.flush();
	}

	private readBody(sink: BodySink): void {
		const { stream, core } = this;
		core.wheel.set(this, core.timeouts.idleBody);
		let trailers: Trailers | undefined;
		stream.on("trailers", (headers: http2.IncomingHttpHeaders) => {
			trailers = pairs(flatten(headers)).filter(([name, value]) => isSound(name, value));
		});
		stream.on("data", (chunk: Buffer) => {
			if (this.over) return;
			core.wheel.set(this, core.timeouts.idleBody);
			if (!sink.body(chunk)) stream.pause();
		});
		stream.on("end", () => {
			if (this.over) return;
			this.requestOpen = false;
			if (!sink.answered) this.deadline = NEVER;
			sink.bodyEnd(trailers);
		});
	}

	private gone(): void {
		if (this.over) return;
		if (this.deciding) this.request.gone(this.core.unexpected);
		this.exchange?.abort();
		this.finish("aborted");
	}

	private finish(outcome: "completed" | "aborted"): void {
		this.over = true;
		this.core.wheel.remove(this);
		this.left(this);
		const { exchange } = this;
		this.exchange = undefined;
		report(this.core, exchange, this.request, this.status, this.began, outcome, this.local);
		if (exchange !== undefined) endDecision(this.core, exchange.decision);
	}

	interim(head: ResponseHead): void {
		if (this.stream.closed || this.stream.headersSent) return;
		try {
			this.stream.additionalHeaders(headersOf(head, this.exchange?.decision.guardedCookie));
		} catch {
			// What Node refuses is left out: an interim response is a hint, and the box's word must not end the daemon.
		}
	}

	respond(head: ResponseHead, bytes: Buffer, start: number, end: number, done: boolean, trailers?: Trailers): boolean {
		this.status = head.status;
		const empty = head.bodiless || (done && start === end && trailers === undefined);
		// Also keeps Node from ending the stream by itself, which would make a response that breaks off look whole.
		const holdEnd = !empty && (!done || trailers !== undefined);
		try {
			const { requestId, guardedCookie } = this.exchange!.decision;
			const headers = headersOf(head, guardedCookie);
			if (requestId !== "") headers[REQUEST_ID] = requestId;
			this.stream.respond(headers, { endStream: empty, waitForTrailers: holdEnd });
		} catch (error) {
			// Node refuses some heads that HTTP/1.1 allows.
			this.core.unexpected(error);
			this.breakOff();
			return false;
		}
		if (empty) return true;
		if (holdEnd) this.stream.on("wantTrailers", () => this.sendTrailers());
		return this.data(bytes, undefined, start, end, done, trailers);
	}

	data(
		bytes: Buffer,
		_slab: Slab | undefined,
		start: number,
		end: number,
		done: boolean,
		trailers?: Trailers,
	): boolean {
		const { stream, core } = this;
		if (stream.destroyed || stream.closed) return true;
		core.wheel.set(this, core.timeouts.idleBody);
		if (done) this.trailers = forwardedTrailers(trailers, undefined);
		const proceed = end > start ? stream.write(Buffer.from(bytes.subarray(start, end))) : true;
		if (done) stream.end();
		return proceed;
	}

	private sendTrailers(): void {
		const { stream } = this;
		if (stream.closed || stream.destroyed) return;
		try {
			stream.sendTrailers(collect(this.trailers));
		} catch {
			// The body is whole without the trailers that Node refuses.
			stream.sendTrailers({});
		}
	}

	switched(): boolean {
		this.breakOff();
		return false;
	}

	completed(): void {
		if (!this.over) this.finish("completed");
		// RFC 9113 §8.1: the response is complete, the rest of the request is not wanted.
		if (this.requestOpen && !this.stream.closed) {
			this.stream.once("finish", () => this.stream.close(NGHTTP2_NO_ERROR));
			this.stream.resume();
		}
	}

	refuse(response: LocalResponse): void {
		if (this.over) return;
		this.status = response.status;
		this.local = response;
		const { stream } = this;
		if (!stream.destroyed && !stream.closed && !stream.headersSent) {
			const { body, status } = response;
			const headers = collect(response.headers);
			headers[":status"] = String(status);
			headers.date ??= httpDate();
			if (status !== 204) headers["content-length"] = String(Buffer.byteLength(body));
			const bodiless = !allowsBody(this.request.method, status) || body === "";
			stream.respond(headers, { endStream: bodiless });
			if (!bodiless) stream.end(body);
		}
		this.completed();
	}

	breakOff(): void {
		if (this.over) return;
		this.exchange?.abort();
		this.finish("aborted");
		if (!this.stream.closed) this.stream.close(NGHTTP2_INTERNAL_ERROR);
	}

	endUpgrade(): void {}

	resumeRequest(): void {
		this.stream.resume();
	}
}
