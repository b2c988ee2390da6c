import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { LocalResponse, RequestInfo } from "./decision.js";
import { fieldsOfHttp2, joined, pairs, type RawFields } from "./fields.js";
import * as notices from "./notices.js";

/** The client's side of an exchange: node's HTTP/1.1 objects and HTTP/2's compatible ones, made alike. */
export type FrontRequest = IncomingMessage | Http2ServerRequest;
export type FrontResponse = ServerResponse | Http2ServerResponse;

export interface Front {
	readonly req: FrontRequest;
	readonly res: FrontResponse;
	readonly info: RequestInfo;
	/** As HTTP/1.1 would have them. */
	readonly fields: RawFields;
	readonly body: Body;
	/** The client waits for a 100 before it sends the body. */
	readonly expectsContinue: boolean;
}

export interface Body {
	readonly kind: "none" | "chunked" | "sized";
	/** Bytes, when sized. */
	readonly length: number;
}

export interface Arrival {
	readonly secure: boolean;
	readonly upgrade: boolean;
}

const noBody: Body = { kind: "none", length: 0 };

/** The request as the seams see it, with what is wrong with it if it must not be handled. */
export function readFront(
	req: FrontRequest,
	res: FrontResponse,
	arrival: Arrival,
): [Front, notices.Notice | undefined] {
	const http2 = isHttp2(req);
	const host = (http2 ? req.authority || req.headers.host : req.headers.host) ?? "";
	const fields = http2 ? fieldsOfHttp2(req.rawHeaders, host) : req.rawHeaders;
	const target = originForm(req.url ?? "", host, req.method ?? "");
	const front: Front = {
		req,
		res,
		fields,
		body: http2 ? bodyOfHttp2(req) : bodyOf(fields),
		expectsContinue: /^100-continue$/i.test(joined(fields, "expect") ?? ""),
		info: {
			...arrival,
			method: req.method ?? "GET",
			target: target ?? "/",
			authority: host,
			peerAddress: req.socket.remoteAddress ?? "",
			header: (name) => joined(fields, name),
		},
	};
	return [front, target === undefined ? notices.badRequest("The request target is not valid.") : defect(front)];
}

function isHttp2(message: FrontRequest): message is Http2ServerRequest {
	return message.httpVersionMajor === 2;
}

/**
 * RFC 9112 3.2.2: absolute-form must be understood, but here only when it agrees with Host: the edge has routed by
 * Host, and two opinions about the destination are an attack.
 */
function originForm(target: string, host: string, method: string): string | undefined {
	if (target.startsWith("/")) return target;
	if (target === "*" && method === "OPTIONS") return target;
	const absolute = /^https?:\/\/([^/?#]*)([^#]*)$/i.exec(target);
	if (absolute?.[1]?.toLowerCase() !== host.toLowerCase()) return undefined;
	const path = absolute[2]!;
	return path.startsWith("/") ? path : `/${path}`;
}

/** What node's parser lets pass and a proxy must not. */
function defect({ fields, info, body }: Front): notices.Notice | undefined {
	const coding = joined(fields, "transfer-encoding");
	if (coding !== undefined && coding.toLowerCase() !== "chunked") return notices.unsupportedCoding;
	if (coding !== undefined && joined(fields, "content-length") !== undefined) {
		return notices.badRequest("Content-Length and Transfer-Encoding exclude each other.");
	}
	if (!Number.isSafeInteger(body.length)) return notices.badRequest("Content-Length is not valid.");
	let hosts = 0;
	for (const [name] of pairs(fields)) if (name.toLowerCase() === "host") hosts++;
	if (hosts > 1) return notices.badRequest("There must be one Host.");
	if (info.upgrade && body.kind !== "none") return notices.badRequest("A request for an upgrade cannot have a body.");
	return undefined;
}

function bodyOf(fields: RawFields): Body {
	if (joined(fields, "transfer-encoding") !== undefined) return { kind: "chunked", length: 0 };
	return sized(fields) ?? noBody;
}

function bodyOfHttp2(req: Http2ServerRequest): Body {
	if (req.stream.endAfterHeaders) return noBody;
	return sized(req.rawHeaders) ?? { kind: "chunked", length: 0 };
}

function sized(fields: RawFields): Body | undefined {
	const length = joined(fields, "content-length");
	if (length === undefined) return undefined;
	if (!/^\d+$/.test(length)) return { kind: "sized", length: Number.NaN };
	return Number(length) === 0 ? noBody : { kind: "sized", length: Number(length) };
}

/** The client took its request back, or lost it on the way. A reset HTTP/2 stream still reports its end. */
export function isTruncated(req: FrontRequest): boolean {
	return isHttp2(req) ? req.stream.aborted || req.stream.rstCode !== 0 : !req.complete;
}

/** Throws when the status or a field cannot be sent. */
export function writeHead(res: FrontResponse, status: number, reason: string, fields: RawFields): void {
	if ("stream" in res) {
		res.writeHead(status, http2Fields(fields));
		return;
	}
	// Node's types know objects only; an array keeps order, case and duplicates.
	res.writeHead(status, reason, fields as string[]);
	// In the next turn, so that a body that is there already travels in the same packet, and an event stream's head does not wait.
	setImmediate(() => {
		if (!res.destroyed && !res.writableEnded) res.flushHeaders();
	});
}

/** Node refuses a second one of these in HTTP/2, where HTTP/1.1 apps get away with it. */
const single: ReadonlySet<string> = new Set([
	"access-control-allow-credentials",
	"access-control-max-age",
	"age",
	"content-encoding",
	"content-language",
	"content-length",
	"content-location",
	"content-md5",
	"content-range",
	"content-type",
	"date",
	"etag",
	"expires",
	"last-modified",
	"location",
	"max-forwards",
	"retry-after",
	"tk",
	"x-content-type-options",
]);

function http2Fields(fields: RawFields): Record<string, string | string[]> {
	const out: Record<string, string | string[]> = Object.create(null);
	for (const [name, value] of pairs(fields)) {
		const lower = name.toLowerCase();
		const before = out[lower];
		if (before === undefined) out[lower] = value;
		else if (!single.has(lower)) out[lower] = typeof before === "string" ? [before, value] : [...before, value];
	}
	return out;
}

/** An informational response (RFC 9110 15.2), as far as node can send it. */
export function writeInformation(front: Front, status: number, fields: RawFields): void {
	const { req, res } = front;
	// HTTP/1.0 has none.
	if (res.headersSent || (req.httpVersionMajor === 1 && req.httpVersionMinor === 0)) return;
	if (status === 100 && front.expectsContinue) res.writeContinue();
	else if (status === 102 && !("stream" in res)) res.writeProcessing();
	else if (status === 103) {
		// Node wants the links one by one; a target cannot contain "<" (RFC 8288 3).
		const link = (joined(fields, "link") ?? "").split(/,\s*(?=<)/);
		try {
			res.writeEarlyHints({ link });
		} catch {
			// Hints that node does not accept are not worth an error.
		}
	}
}

/** Ends a response, with trailers if the message can carry them. */
export function endWith(res: FrontResponse, trailers: readonly (readonly [name: string, value: string])[]): void {
	if (trailers.length > 0) {
		if ("stream" in res)
			res.addTrailers(Object.fromEntries(trailers.map(([name, value]) => [name.toLowerCase(), value])));
		else res.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]));
	}
	res.end();
}

/** The client must see that what it has is not the whole: no clean end of the message. */
export function breakOff(res: FrontResponse): void {
	if ("stream" in res) res.stream.destroy(new Error("the upstream's response broke off"));
	else res.destroy();
}

export function writeLocal(
	{ req, res, expectsContinue }: Pick<Front, "req" | "res" | "expectsContinue">,
	local: LocalResponse,
): void {
	if (res.headersSent) return;
	const body = Buffer.from(local.body);
	const fields = local.headers.flat();
	fields.push("content-length", String(body.length));
	// Whether a client that still waits for its 100 sends the body now is anybody's guess, so nothing can follow it.
	if (expectsContinue && !isHttp2(req)) fields.push("connection", "close");
	writeHead(res, local.status, "", fields);
	if (req.method === "HEAD") res.end();
	else res.end(body);
}
