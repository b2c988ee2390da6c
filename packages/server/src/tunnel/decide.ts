import { randomUUID } from "node:crypto";
import type { TunnelDirectory, TunnelTarget } from "../devboxes/index.js";
import { authenticate } from "./authenticate.js";
import type { Decide, Decision, RequestInfo, UpstreamFailure } from "./decision.js";
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
	readonly remove?: string;
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

	const decide = (destination: Destination | undefined, requestId: string, request: RequestInfo): Decision => {
		if (destination === undefined) return respond(notices.notFound, requestId, request);
		const { target, port } = destination;

		const authentication = authenticate(target, request);
		if (!authentication.ok) return respond(notices.unauthorized, requestId, request);
		if (port === sshdPort) return respond(notices.sshPort, requestId, request);

		const { devboxId, address } = target;
		if (target.status !== "running" || address === null) {
			if (target.status === "suspended" && target.wakes) directory.wake(devboxId);
			return respond(absence(target), requestId, request);
		}
		return {
			kind: "proxy",
			devboxId,
			address,
			port,
			requestId,
			remove: destination.remove === undefined ? authentication.remove : [destination.remove, ...authentication.remove],
			set: [["x-runloop-request-id", requestId], ...forwarding(request)],
			activity: target.httpKeepAlive ? () => directory.activity(devboxId) : undefined,
			failed: (failure) => respond(noticeFor(failure, port, isFresh(target, now())), requestId, request),
		};
	};

	return (request) => {
		const requestId = newRequestId();
		const found = findDestination(request, directory, route);
		return found instanceof Promise
			? found.then((destination) => decide(destination, requestId, request))
			: decide(found, requestId, request);
	};
}

/**
 * `X-Runloop-Host` routes only to authenticated tunnels: a page on an open one must not be reachable under a name of
 * somebody else's choice. Otherwise it is a field like any other.
 */
function findDestination(
	request: RequestInfo,
	directory: TunnelDirectory,
	route: DecideOptions["route"],
): MaybePromise<Destination | undefined> {
	const named = request.header(routingField);
	if (named === undefined) return resolve(request.authority, directory, route);
	return Promise.resolve(resolve(named.trim(), directory, route)).then((found) =>
		found?.target.authMode === "authenticated"
			? { ...found, remove: routingField }
			: resolve(request.authority, directory, route),
	);
}

/** Without a promise where the directory has the answer in memory: that is nearly always, and on the hottest of paths. */
function resolve(
	authority: string,
	directory: TunnelDirectory,
	route: DecideOptions["route"],
): MaybePromise<Destination | undefined> {
	const named = route(authority);
	if (named === undefined || !Number.isInteger(named.port) || named.port < 1 || named.port > 65_535) return undefined;
	const { port } = named;
	const target = directory.lookup(named.key);
	return target instanceof Promise
		? target.then((loaded) => loaded && { port, target: loaded })
		: target && { port, target };
}

type MaybePromise<T> = T | Promise<T>;

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
