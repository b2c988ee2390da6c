import type { FastifyRequest } from "fastify";
import { demand } from "../accounts/index.js";
import { UnauthorizedError } from "../errors.js";
import { actorOf } from "./request.js";
import type { Accounts } from "./services.js";

/** A hook: as `onRequest`, nothing of the body is read before the API key is known to be valid. */
export function authenticate(accounts: Accounts) {
	return async (request: FastifyRequest): Promise<void> => {
		const actor = await accounts.authenticate(request.headers.authorization);
		if (!actor) throw new UnauthorizedError();
		request.actor = request.peer === null ? actor : { ...actor, peerAddress: request.peer };
	};
}

/** A hook after `authenticate`: the role of the caller must allow the route's action. */
export async function authorize(request: FastifyRequest): Promise<void> {
	const reads = request.method === "GET" || request.method === "HEAD";
	demand(actorOf(request), request.routeOptions.config.action ?? (reads ? "read" : "use"));
}

/** As `authenticate`, but a peer on this machine needs no key. */
export function authenticateUnlessLocal(accounts: Accounts) {
	const withKey = authenticate(accounts);
	return async (request: FastifyRequest): Promise<void> => {
		if (!isLocal(request)) await withKey(request);
	};
}

/** What proxies add. A proxy on this machine makes everybody's requests come from loopback. */
const proxyHeaders = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

function isLocal({ headers, raw }: FastifyRequest): boolean {
	if (proxyHeaders.some((name) => headers[name] !== undefined)) return false;
	const address = raw.socket.remoteAddress?.replace(/^::ffff:/i, "");
	return address === "::1" || (address?.startsWith("127.") ?? false);
}
