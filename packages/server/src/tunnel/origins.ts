import type { RouteParser } from "./destination.js";
import type { Arrival, Visit } from "./visit.js";

/** A serialized tuple origin (RFC 6454, 6.1). `null` is none. */
const tupleOrigin = /^(https?):\/\/((?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)$/;
const defaultPorts = { http: "80", https: "443" };

interface Origin {
	readonly scheme: "http" | "https";
	/** Host, and port unless it is the scheme's own. */
	readonly authority: string;
}

/** A request to a tunnel. */
export type Addressed = Pick<Arrival, "request" | "sender"> & Pick<Visit, "target">;

/** The request's `Origin`, when its pages may use this tunnel; safe to be repeated in a response. */
export function allowedOrigin(visit: Addressed, route: RouteParser): string | undefined {
	const given = visit.request.header("origin");
	return isAllowed(given, visit, route) ? given : undefined;
}

function isAllowed(given: string | undefined, visit: Addressed, route: RouteParser): boolean {
	const { target } = visit;
	if (given !== undefined && target.corsOrigins.includes(given)) return true;
	const origin = parse(given);
	if (origin === undefined || isDowngrade(origin, visit)) return false;
	return isOwnHost(origin, visit) || route(origin.authority)?.key === target.key;
}

/** The request was made by a page of its own host. What a browser says about that is believed: scripts cannot set these fields. */
export function isOwnPage(visit: Addressed): boolean {
	const { request } = visit;
	// Asked first: the form of a page that tells no referrer has the origin `null` (Fetch, "append a request Origin header").
	const site = request.header("sec-fetch-site");
	if (site !== undefined) return site === "same-origin";
	const origin = parse(request.header("origin"));
	return origin !== undefined && !isDowngrade(origin, visit) && isOwnHost(origin, visit);
}

/**
 * May the request do something in the name of the browser's user? The tunnels of all devboxes are one site, so
 * `SameSite` does not stop a page of one from sending requests with the cookie of another. An origin, where there is one,
 * must be allowed; what changes something, or opens a WebSocket, must have one. What another page embeds (`<img>`,
 * `<script>`) has none, so there its `Referer` must be allowed.
 */
export function mayUseCookie(visit: Addressed, route: RouteParser): boolean {
	const { request } = visit;
	const origin = request.header("origin");
	if (origin !== undefined && origin !== "null") return allowedOrigin(visit, route) !== undefined;
	if (isOwnPage(visit)) return true;
	if (origin !== undefined || request.upgrade || !/^(?:GET|HEAD|OPTIONS)$/.test(request.method)) return false;
	return !isEmbedded(visit) || isAllowed(referrerOrigin(visit), visit, route);
}

/**
 * A page of another origin, in whatever site, has the browser fetch this without going there (Fetch Metadata). Browsers that
 * do not say, and programs, are not held to it.
 */
function isEmbedded({ request }: Addressed): boolean {
	const site = request.header("sec-fetch-site");
	return site !== undefined && site !== "none" && request.header("sec-fetch-mode") !== "navigate";
}

/** Scripts can make a browser leave `Referer` out, but not name another page's origin in it. */
function referrerOrigin({ request }: Addressed): string | undefined {
	return /^https?:\/\/[^/]+/.exec(request.header("referer") ?? "")?.[0];
}

function parse(text: string | undefined): Origin | undefined {
	const parts = text === undefined ? null : tupleOrigin.exec(text);
	if (parts === null) return undefined;
	const scheme = parts[1] as Origin["scheme"];
	return { scheme, authority: withoutDefaultPort(parts[2]!, scheme) };
}

/** A page that came plain may be anybody's on the way: it does not speak for what is served over TLS. */
function isDowngrade({ scheme }: Origin, { sender }: Addressed): boolean {
	return scheme === "http" && sender.scheme === "https";
}

function isOwnHost({ scheme, authority }: Origin, { request }: Addressed): boolean {
	return withoutDefaultPort(request.authority.toLowerCase(), scheme) === authority;
}

function withoutDefaultPort(authority: string, scheme: Origin["scheme"]): string {
	const port = `:${defaultPorts[scheme]}`;
	return authority.endsWith(port) ? authority.slice(0, -port.length) : authority;
}
