/** The one place that turns errors into the Runloop dialect's JSON. */
import { STATUS_CODES } from "node:http";
import { GangwayError } from "../errors.js";

interface WireError {
	readonly status: number;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: { readonly message: string; readonly code: string };
}

/** How a dialect says an error. */
export type ToWireError = (
	error: unknown,
	requestId: string,
) => { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: object };

/** Only public messages leave: whatever is not a `GangwayError` or a known refusal of the HTTP layer is "internal error". */
export function toWireError(error: unknown, requestId: string): WireError {
	if (error instanceof GangwayError) return wire(error.status, error.code, error.message);
	const { code = "", statusCode = 500 } = Object(error) as { code?: string; statusCode?: number };
	const known = httpErrors[code];
	if (known) return wire(...known);
	if (statusCode >= 400 && statusCode < 500)
		return wire(statusCode, "bad_request", STATUS_CODES[statusCode] ?? "bad request");
	return wire(500, "internal", `internal error (request ${requestId})`);
}

const diskFull = [503, "unavailable", "the disk of this Gangway is full: nothing can be stored"] as const;

/** What Fastify throws before a handler runs, and what a full disk makes of any call, by its code. */
const httpErrors: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
	FST_ERR_CTP_BODY_TOO_LARGE: [413, "payload_too_large", "body: is larger than this server accepts"],
	FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, "unsupported_media_type", "content-type: must be application/json"],
	FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, "bad_request", "content-length: does not match the body"],
	SQLITE_FULL: diskFull,
	ENOSPC: diskFull,
	FST_ERR_BAD_URL: [400, "bad_request", "the path is not valid percent-encoding"],
};

function wire(status: number, code: string, message: string): WireError {
	return { status, headers: headersOf(status), body: { message, code } };
}

function headersOf(status: number): Record<string, string> {
	// RFC 9110, section 11.6.1: a 401 names its scheme.
	if (status === 401) return { "www-authenticate": 'Bearer realm="gangway"' };
	// The official client repeats every 409 unless told otherwise; a wrong state does not become right by repeating.
	if (status === 409) return { "x-should-retry": "false" };
	return {};
}
