import type { TunnelDirectory, TunnelTarget } from "../devboxes/index.js";
import type { RequestInfo } from "./decision.js";
import { after, type MaybePromise } from "./visit.js";

export interface Route {
	readonly port: number;
	readonly key: string;
}

/** What a host name says: the port and tunnel key, or undefined when it names no tunnel. Must not throw. */
export type RouteParser = (authority: string) => Route | undefined;

/** Where a request goes, and the routing field that is spent on the way. */
export interface Destination {
	readonly port: number;
	readonly target: TunnelTarget;
	readonly routedBy?: string;
}

const routingField = "x-runloop-host";

/**
 * `X-Runloop-Host` routes only to authenticated tunnels: a page on an open one must not be reachable under a name of
 * somebody else's choice. Otherwise it is a field like any other.
 */
export function findDestination(
	request: RequestInfo,
	directory: TunnelDirectory,
	route: RouteParser,
): MaybePromise<Destination | undefined> {
	const named = request.header(routingField);
	if (named === undefined) return resolve(request.authority, directory, route);
	return after(resolve(named.trim(), directory, route), (found) =>
		found?.target.authMode === "authenticated"
			? { ...found, routedBy: routingField }
			: resolve(request.authority, directory, route),
	);
}

function resolve(
	authority: string,
	directory: TunnelDirectory,
	route: RouteParser,
): MaybePromise<Destination | undefined> {
	const named = route(authority);
	if (named === undefined || !Number.isInteger(named.port) || named.port < 1 || named.port > 65_535) return undefined;
	const { port } = named;
	return after(directory.lookup(named.key), (target) => target && { port, target });
}
