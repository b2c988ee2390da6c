/** One request that came over HTTP/2 (RFC 9113 §8), carried to the box as HTTP/1.1. */
import * as http2 from "node:http2";
import type { Decision, LocalResponse, ProxyDecision, RequestInfo } from "../decision.js";
import { AUTHORITY, CLASS, PATH, QUERY } from "./codec/chars.js";
import type { Trailers } from "./codec/chunked.js";
import { isToken } from "./codec/connection.js";
import { FIRST_HOP, knownField, REQUEST_ID } from "./codec/fields.js";
import type { ResponseHead } from "./codec/response-head.js";
import { dropsFields, eachForwardedField, fieldLines, forwardedTrailers } from "./codec/rewrite.js";
import type { Core } from "./core.js";
import { type Downstream, Exchange } from "./exchange.js";
import { allowsBody, httpDate, refusal } from "./local.js";
import { report } from "./record.js";
import type { Slab } from "./slabs.js";
import { NEVER, Timed } from "./wheel.js";

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;

export interface Http2Options {
	readonly secure: boolean;
	readonly peerAddress: string;
	/** The fields as they came, name and value in turn: keeps duplicates apart. Node gives them as the fourth argument of `stream`. */
	readonly rawHeaders?: readonly string[];
}

class Http2Request implements RequestInfo {
	readonly method: string;
	readonly target: string;
	readonly authority: string;
	readonly upgrade = false;
	readonly secure: boolean;
	readonly peerAddress: string;
	readonly fields: readonly (readonly [name: string, value: string])[];

	constructor(headers: http2.IncomingHttpHeaders, options: Http2Options) {
		this.method = text(headers[":method"]);
		this.target = text(headers[":path"]);
		const host = headers.host;
		this.authority = text(headers[":authority"] ?? host);
		this.secure = options.secure;
		this.peerAddress = options.peerAddress;
		const raw = options.rawHeaders ?? flatten(headers);
		this.fields = pairs(raw).filter(([name]) => !name.startsWith(":"));
	}

	header(name: string): string | undefined {
		const values = this.fields.filter(([field]) => field === name).map(([, value]) => value);
		return values.length === 0 ? undefined : values.join(name === "cookie" ? "; " : ", ");
	}

	/** 0, or the status to refuse with. nghttp2 has checked much of this; the box must not depend on it. */
	check(core: Core): number {
		if (this.method === "CONNECT") return 501;
		if (!isToken(this.method) || !all(this.authority, AUTHORITY) || !isTarget(this.method, this.target)) return 400;
		if (this.fields.length > core.limits.headFields) return 431;
		let size = this.target.length;
		for (const [name, value] of this.fields) {
			size += name.length + value.length;
			if (!isToken(name) || UNSAFE.test(value)) return 400;
			// RFC 9113 §8.2.2: what concerns a connection has no place here.
			if (CONNECTION_SPECIFIC.has(name)) return 400;
			if (name === "host" && value.toLowerCase() !== this.authority.toLowerCase()) return 400;
		}
		return size > core.limits.headBytes ? 431 : 0;
	}

	/** The HTTP/1.1 head for the box. */
	forwarded(decision: ProxyDecision, framing: string): string {
		const drops = dropsFields(decision);
		let lines = drops("host") ? "" : `Host: ${this.authority}\r\n`;
		let cookies = "";
		for (const [name, value] of this.fields) {
			if (name === "host" || name === "content-length" || knownField(name) >= FIRST_HOP || drops(name)) continue;
			// RFC 9113 §8.2.3: HTTP/1.1 has one Cookie field.
			if (name === "cookie") cookies += cookies === "" ? value : `; ${value}`;
			else lines += `${name}: ${value}\r\n`;
		}
		if (cookies !== "") lines += `cookie: ${cookies}\r\n`;
		return `${this.method} ${this.target} HTTP/1.1\r\n${lines}${fieldLines(decision.set)}${framing}\r\n`;
	}
}

const UNSAFE = /[^\t\x20-\x7e\x80-\xff]/;
const CONNECTION_SPECIFIC = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

export class Http2Client extends Timed implements Downstream {
	private exchange: Exchange | undefined;
	/** What was said in place of a box's response. */
	private local: LocalResponse | undefined;
	private readonly request: Http2Request;
	private readonly began = performance.now();
	private status = 0;
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
		this.refuse(refusal(408));
	}

	private begin(length: string): void {
		const { core, request } = this;
		const status = request.check(core);
		if (status !== 0) {
			this.refuse(refusal(status));
			return;
		}
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
		this.core.unexpected(error);
		this.exchange?.abort();
		if (this.exchange?.answered === true) this.breakOff();
		else this.refuse(refusal(500));
	}

	private decided(decision: Decision, length: string): void {
		if (this.over) return;
		if (decision.kind === "respond") {
			this.refuse(decision);
			return;
		}
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

	private readBody(exchange: Exchange): void {
		const { stream, core } = this;
		core.wheel.set(this, core.timeouts.idleBody);
		let trailers: Trailers | undefined;
		stream.on("trailers", (headers: http2.IncomingHttpHeaders) => {
			trailers = pairs(flatten(headers)).filter(([name, value]) => isToken(name) && !UNSAFE.test(value));
		});
		stream.on("data", (chunk: Buffer) => {
			if (this.over) return;
			core.wheel.set(this, core.timeouts.idleBody);
			if (!exchange.body(chunk)) stream.pause();
		});
		stream.on("end", () => {
			if (this.over) return;
			this.requestOpen = false;
			if (!exchange.answered) this.deadline = NEVER;
			exchange.bodyEnd(trailers);
		});
	}

	private gone(): void {
		if (this.over) return;
		this.exchange?.abort();
		this.finish("aborted");
	}

	private finish(outcome: "completed" | "aborted"): void {
		this.over = true;
		this.core.wheel.remove(this);
		this.left(this);
		report(this.core, this.exchange, this.request, this.status, this.began, outcome, this.local);
		this.exchange = undefined;
	}

	interim(head: ResponseHead): void {
		if (this.stream.closed || this.stream.headersSent) return;
		try {
			this.stream.additionalHeaders(headersOf(head));
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
			const headers = headersOf(head);
			const { requestId } = this.exchange!.decision;
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

function text(value: string | string[] | undefined): string {
	return typeof value === "string" ? value : "";
}

function pairs(raw: readonly string[]): [name: string, value: string][] {
	const list: [string, string][] = [];
	for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i]!, raw[i + 1]!]);
	return list;
}

function flatten(headers: http2.IncomingHttpHeaders): string[] {
	const raw: string[] = [];
	for (const [name, value] of Object.entries(headers)) {
		if (value !== undefined) for (const one of Array.isArray(value) ? value : [value]) raw.push(name, one);
	}
	return raw;
}

function all(value: string, flag: number): boolean {
	for (let i = 0; i < value.length; i++) {
		const code = value.charCodeAt(i);
		if (code > 0xff || (CLASS[code]! & flag) === 0) return false;
	}
	return value !== "";
}

function isTarget(method: string, target: string): boolean {
	if (target === "*") return method === "OPTIONS";
	const query = target.indexOf("?");
	const path = query < 0 ? target : target.slice(0, query);
	return path.startsWith("/") && all(path, PATH) && (query < 0 || all(target.slice(query), QUERY));
}

type OutgoingHeaders = Record<string, string | string[]>;

/** Fields as Node sends them. It throws at some that HTTP/1.1 allows: those are left out, whoever wrote them. */
function collect(fields: Iterable<readonly [name: string, value: string]>): OutgoingHeaders {
	// Without a prototype: `constructor` is a name like any other.
	const headers: OutgoingHeaders = Object.create(null);
	for (const [name, value] of fields) {
		const lower = name.toLowerCase();
		const present = headers[lower];
		if (lower === "http2-settings") continue;
		if (present === undefined) headers[lower] = value;
		else if (SINGLE.has(lower)) continue;
		else if (Array.isArray(present)) present.push(value);
		else headers[lower] = [present, value];
	}
	return headers;
}

/** Node refuses a second one of these in HTTP/2, where apps get away with it in HTTP/1.1; the first one counts. */
const SINGLE: ReadonlySet<string> = new Set([
	"access-control-allow-credentials",
	"access-control-max-age",
	"access-control-request-method",
	"age",
	"authorization",
	"content-encoding",
	"content-language",
	"content-length",
	"content-location",
	"content-md5",
	"content-range",
	"content-type",
	"date",
	"dnt",
	"etag",
	"expires",
	"from",
	"host",
	"if-match",
	"if-modified-since",
	"if-none-match",
	"if-range",
	"if-unmodified-since",
	"last-modified",
	"location",
	"max-forwards",
	"proxy-authorization",
	"range",
	"referer",
	"retry-after",
	"tk",
	"upgrade-insecure-requests",
	"user-agent",
	"x-content-type-options",
]);

function headersOf(head: ResponseHead): OutgoingHeaders {
	const fields: [string, string][] = [];
	eachForwardedField(head, (name, value) => fields.push([name, value]));
	const headers = collect(fields);
	headers[":status"] = String(head.status);
	return headers;
}
