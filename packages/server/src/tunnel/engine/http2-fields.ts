/** Fields between the form in which Node gives and takes them for HTTP/2 and the engine's own. */
import type { IncomingHttpHeaders } from "node:http2";
import { isToken } from "./codec/connection.js";
import type { ResponseHead } from "./codec/response-head.js";
import { eachForwardedField } from "./codec/rewrite.js";

export function pairs(raw: readonly string[]): [name: string, value: string][] {
	const list: [string, string][] = [];
	for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i]!, raw[i + 1]!]);
	return list;
}

export function flatten(headers: IncomingHttpHeaders): string[] {
	const raw: string[] = [];
	for (const [name, value] of Object.entries(headers)) {
		if (value !== undefined) for (const one of Array.isArray(value) ? value : [value]) raw.push(name, one);
	}
	return raw;
}

/** May the box see this field, as HTTP/1.1 would carry it? */
export function isSound(name: string, value: string): boolean {
	return isToken(name) && !UNSAFE.test(value);
}

const UNSAFE = /[^\t\x20-\x7e\x80-\xff]/;

export type OutgoingHeaders = Record<string, string | string[]>;

/** Fields as Node sends them. It throws at some that HTTP/1.1 allows: those are left out, whoever wrote them. */
export function collect(fields: Iterable<readonly [name: string, value: string]>): OutgoingHeaders {
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

/** The head of a box's response, without what must not go on. */
export function headersOf(head: ResponseHead, guardedCookie: string | undefined): OutgoingHeaders {
	const fields: [string, string][] = [];
	eachForwardedField(head, guardedCookie, (name, value) => fields.push([name, value]));
	const headers = collect(fields);
	headers[":status"] = String(head.status);
	return headers;
}
