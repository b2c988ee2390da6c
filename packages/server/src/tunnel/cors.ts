import type { LocalResponse } from "./decision.js";
import type { RouteParser } from "./destination.js";
import type { Field } from "./forwarding.js";
import { type Addressed, allowedOrigin } from "./origins.js";
import type { Visit } from "./visit.js";

/** RFC 9110, 5.6.2. */
const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const methodForm = new RegExp(`^${token}$`);
const fieldNames = new RegExp(`^${token}(?:[ \\t]*,[ \\t]*${token})*$`);
/** Seconds for which a browser need not ask again. */
const maxAge = 600;

/**
 * Answers a CORS preflight to an authenticated tunnel: browsers send it without credentials, so an app behind the tunnel
 * never could. Undefined for every other request, and for origins whose pages have no business here.
 */
export function preflight(visit: Visit, route: RouteParser): LocalResponse | undefined {
	const { request, requestId, target } = visit;
	if (request.method !== "OPTIONS" || target.authMode !== "authenticated") return undefined;
	const method = request.header("access-control-request-method");
	if (method === undefined || !methodForm.test(method)) return undefined;
	const origin = allowedOrigin(visit, route);
	if (origin === undefined) return undefined;
	const names = request.header("access-control-request-headers");
	const local = request.header("access-control-request-private-network") === "true";
	return {
		kind: "respond",
		requestId,
		status: 204,
		headers: [
			...allow(origin),
			["access-control-allow-methods", method],
			...(names !== undefined && fieldNames.test(names) ? [["access-control-allow-headers", names] as const] : []),
			...(local ? [["access-control-allow-private-network", "true"] as const] : []),
			["access-control-max-age", String(maxAge)],
			["vary", "origin, access-control-request-method, access-control-request-headers"],
			["x-runloop-request-id", requestId],
		],
		body: "",
	};
}

const noFields: readonly Field[] = [];

/** The fields that let a page of an allowed origin read what Gangway itself has to say. */
export function corsFields(visit: Addressed, route: RouteParser): readonly Field[] {
	const origin = allowedOrigin(visit, route);
	if (origin === undefined) return noFields;
	const exposed = "retry-after, www-authenticate, x-runloop-request-id";
	return [...allow(origin), ["access-control-expose-headers", exposed], ["vary", "origin"]];
}

function allow(origin: string): readonly Field[] {
	return [
		["access-control-allow-origin", origin],
		["access-control-allow-credentials", "true"],
	];
}
