import { randomUUID } from "node:crypto";
import type { TunnelDirectory, TunnelTarget } from "../devboxes/index.js";
import { authenticate } from "./authenticate.js";
import type { Decide, LocalResponse, ProxyDecision, RequestInfo, UpstreamFailure } from "./decision.js";
import { createForwarding } from "./forwarding.js";
import * as notices from "./notices.js";
import { respond } from "./pages.js";

export interface DecideOptions {
	readonly directory: TunnelDirectory;
	/** What a host name says: the port and tunnel key, or undefined when it names no tunnel. Must not throw. */
	readonly route: (authority: string) => Route | undefined;
	/** Addresses or CIDR blocks whose `X-Forwarded-*` is believed. Default: none. */
	readonly trustedProxies?: readonly string[];
	/** Epoch ms. */
	readonly now?: () => number;
	/** A new id for each request. Default: a random UUID. */
	readonly requestId?: () => string;
}

export interface Route {
	readonly port: number;
	readonly key: string;
}

/** Where a request goes, and the routing field that is spent on the way. */
interface Destination {
	readonly port: number;
	readonly target: TunnelTarget;
	readonly remove: readonly string[];
}

const routingField = "x-runloop-host";
/** The box's own sshd: SSH has its own doors, with their own rules. */
const sshdPort = 22;
/** How long after a start a port that does not accept is taken for "not yet". */
const startGraceMs = 30_000;

/**
 * The tunnel's behaviour: route, then authenticate, then wake, then proxy. The order is a promise: a stranger to a
 * private tunnel gets 401 and learns, wakes and keeps awake nothing.
 */
export function createDecide(options: DecideOptions): Decide {
	const { directory, route, now = Date.now, requestId: newRequestId = randomUUID } = options;
	const forwarding = createForwarding(options.trustedProxies ?? []);

	return async (request) => {
		const requestId = newRequestId();
		const destination = await findDestination(request, directory, route);
		if (destination === undefined) return respond(notices.notFound, requestId, request);
		const { target, port } = destination;

		const authentication = authenticate(target, request);
		if (!authentication.ok) return respond(notices.unauthorized, requestId, request);
		if (port === sshdPort) return respond(notices.sshPort, requestId, request);

		if (target.status !== "running" || target.address === null) {
			if (target.status === "suspended" && target.wakes) directory.wake(target.devboxId);
			return respond(absence(target), requestId, request);
		}

		const decision: ProxyDecision = {
			kind: "proxy",
			devboxId: target.devboxId,
			address: target.address,
			port,
			requestId,
			remove: [...destination.remove, ...authentication.remove],
			set: [["x-runloop-request-id", requestId], ...forwarding(request)],
			activity: target.httpKeepAlive ? () => directory.activity(target.devboxId) : undefined,
			failed: (failure) => explain(failure, port, isFresh(target, now()), requestId, request),
		};
		return decision;
	};
}

/**
 * `X-Runloop-Host` routes only to authenticated tunnels: a page on an open one must not be reachable under a name of
 * somebody else's choice. Otherwise it is a field like any other.
 */
async function findDestination(
	request: RequestInfo,
	directory: TunnelDirectory,
	route: DecideOptions["route"],
): Promise<Destination | undefined> {
	const named = request.header(routingField);
	if (named !== undefined) {
		const found = await resolve(named.trim(), directory, route);
		if (found?.target.authMode === "authenticated") return { ...found, remove: [routingField] };
	}
	const found = await resolve(request.authority, directory, route);
	return found && { ...found, remove: [] };
}

async function resolve(
	authority: string,
	directory: TunnelDirectory,
	route: DecideOptions["route"],
): Promise<Omit<Destination, "remove"> | undefined> {
	const named = route(authority);
	if (named === undefined || !Number.isInteger(named.port) || named.port < 1 || named.port > 65_535) return undefined;
	const target = await directory.lookup(named.key);
	return target && { port: named.port, target };
}

/** Why a box that does not run cannot answer. */
function absence(target: TunnelTarget): notices.Notice {
	switch (target.status) {
		case "suspended":
		case "suspending":
			return target.wakes ? notices.starting : notices.suspended;
		case "failure":
		case "shutdown":
			return notices.notFound;
		default:
			return notices.starting;
	}
}

function isFresh(target: TunnelTarget, now: number): boolean {
	return target.runningSinceMs !== null && now - target.runningSinceMs < startGraceMs;
}

function explain(
	failure: UpstreamFailure,
	port: number,
	fresh: boolean,
	requestId: string,
	request: RequestInfo,
): LocalResponse {
	return respond(noticeFor(failure, port, fresh), requestId, request);
}

function noticeFor(failure: UpstreamFailure, port: number, fresh: boolean): notices.Notice {
	switch (failure) {
		case "refused":
			return fresh ? notices.portStarting(port) : notices.nothingListens(port);
		case "unreachable":
			return fresh ? notices.portStarting(port) : notices.unreachable;
		case "connect_timeout":
			return fresh ? notices.portStarting(port) : notices.connectTimeout(port);
		case "response_timeout":
			return notices.responseTimeout(port);
		case "bad_response":
			return notices.badResponse(port);
		case "closed":
			return notices.closed(port);
	}
}
