import type { IncomingHttpHeaders } from "node:http2";
import type { Request } from "./handlers.js";

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

/**
 * The one authority a request is for; undefined if it has none, several or contradicting ones, or a target that is
 * not a path. All of these are how one proxy is made to see another host than the next, so none is repaired.
 * Rewrites an absolute-form target (RFC 9112, 3.2.2) to origin-form.
 */
export function takeAuthority(request: Request): string | undefined {
	const host = authorityOf(request.headers, request.rawHeaders);
	if (host === undefined) return undefined;
	const url = request.url ?? "";
	if (url.startsWith("/") || url === "*") return host;
	const absolute = ABSOLUTE.exec(url);
	if (!absolute || absolute[1]!.toLowerCase() !== host.toLowerCase()) return undefined;
	const path = absolute[2]!.replace(/#.*$/, "");
	request.url = path.startsWith("/") ? path : `/${path}`;
	return host;
}

/** The same without a look at the target. */
export function authorityOf(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): string | undefined {
	const pseudo = headers[":authority"];
	const host = pseudo === undefined ? soleHost(rawHeaders) : http2Authority(String(pseudo), headers.host);
	return host === "" ? undefined : host;
}

/** Node joins or drops repeated fields, so this looks at what was received. RFC 9112, 3.2: more than one Host is 400. */
function soleHost(rawHeaders: readonly string[]): string | undefined {
	let found: string | undefined;
	for (let i = 0; i < rawHeaders.length; i += 2) {
		const name = rawHeaders[i]!;
		if (name.length !== 4 || name.toLowerCase() !== "host") continue;
		if (found !== undefined) return undefined;
		found = rawHeaders[i + 1]!;
	}
	return found;
}

/** RFC 9113, 8.3.1: a Host that differs from :authority makes the request malformed. */
function http2Authority(authority: string, host: string | undefined): string | undefined {
	return host === undefined || host.toLowerCase() === authority.toLowerCase() ? authority : undefined;
}
