import { randomUUID } from "node:crypto";
import type { Passes, TunnelDirectory } from "../devboxes/index.js";
import { type Admitted, authenticate } from "./authenticate.js";
import { cookieName } from "./cookie.js";
import { corsFields, preflight } from "./cors.js";
import type { Decide, Decision, ProxyDecision } from "./decision.js";
import { type Destination, findDestination, type RouteParser } from "./destination.js";
import { failureNotice } from "./failures.js";
import { createForwarding, hostFields } from "./forwarding.js";
import { Limiter } from "./limits.js";
import * as notices from "./notices.js";
import { readerOf, respond } from "./pages.js";
import { Readiness, type ReadinessOptions, type Ready } from "./readiness.js";
import { SignIn } from "./sign-in.js";
import { type Arrival, after, type MaybePromise, type Visit } from "./visit.js";

export interface DecideOptions extends Pick<ReadinessOptions, "loopback" | "holdMs" | "maxWaiters"> {
	readonly directory: TunnelDirectory;
	readonly route: RouteParser;
	/** Of signed-in browsers and share links. */
	readonly passes: Passes;
	/** Addresses or CIDR blocks whose `X-Forwarded-*` is believed. Default: none. */
	readonly trustedProxies?: readonly string[];
	/** Default: no limits. */
	readonly limiter?: Limiter;
	/** Epoch ms. */
	readonly now?: () => number;
	/** A new id for each request. Default: a random UUID. */
	readonly requestId?: () => string;
}

/** The box's own sshd: SSH has its own doors, with their own rules. */
const sshdPort = 22;

/**
 * The tunnel's behaviour: route, then authenticate, then wake, then proxy. The order is a promise: a stranger to a
 * private tunnel gets 401, or a chance to sign in, and learns, wakes and keeps awake nothing. What is over a limit of its client's address is 429
 * before all that, what is over the tunnel's own once it is let in.
 */
export function createDecide(options: DecideOptions): Decide {
	const { directory, route, passes, now = Date.now, requestId: newRequestId = randomUUID } = options;
	const forwarding = createForwarding(options.trustedProxies ?? []);
	const limiter = options.limiter ?? new Limiter();
	const readiness = new Readiness({ ...options, now });
	const signIn = new SignIn({ passes, now });

	return (request) => {
		const requestId = newRequestId();
		const sender = forwarding(request);
		const admission = limiter.enter(sender.client);
		if (admission === undefined) return respond(notices.tooManyOfClient, requestId, readerOf(request));
		return limiter.decide(admission, () => decide({ request, requestId, sender, admission }));
	};

	/** Asked again, from the start, when a request was held: its tunnel may be another by then. */
	function decide(arrival: Arrival): MaybePromise<Decision> {
		const { request, requestId } = arrival;
		return after(findDestination(request, directory, route), (destination) =>
			destination === undefined
				? respond(notices.notFound, requestId, readerOf(request))
				: admit(visitOf(destination, arrival, route)),
		);
	}

	function admit(visit: Visit): MaybePromise<Decision> {
		const answer = preflight(visit, route) ?? signIn.answer(visit);
		if (answer !== undefined) return answer;
		const authentication = authenticate(visit, { passes, route, now });
		if (!authentication.ok) return authentication.foreignPage ? visit.say(notices.foreignPage) : signIn.invite(visit);
		if (visit.port === sshdPort) return visit.say(notices.sshPort);
		return serve(visit, authentication);
	}

	/** Only for who has been let in. */
	function serve(visit: Visit, authentication: Admitted): MaybePromise<Decision> {
		if (!limiter.enterTunnel(visit.admission, visit.target.key)) return visit.say(notices.tooManyOfTunnel);
		return after(readiness.check(visit), (box) => {
			if (box.kind === "ready") return proxy(visit, authentication, box);
			if (box.kind === "respond") return box;
			const { request, requestId, sender, admission } = visit;
			return decide({ request, requestId, sender, admission, heldUntilMs: box.untilMs });
		});
	}

	function proxy(visit: Visit, { remove, set, grant }: Admitted, { address, dial }: Ready): ProxyDecision {
		const { requestId, target, port, routedBy, sender, admission } = visit;
		const { devboxId } = target;
		return {
			kind: "proxy",
			devboxId,
			address,
			port,
			requestId,
			remove: routedBy === undefined ? remove : [routedBy, ...remove],
			set: [["x-runloop-request-id", requestId], ...sender.fields, ...hostFields(visit), ...set],
			guardedCookie: target.authMode === "authenticated" ? cookieName : undefined,
			grant,
			dial,
			ended: () => limiter.leave(admission),
			activity: target.httpKeepAlive ? () => directory.activity(devboxId) : undefined,
			failed: (failure) => {
				readiness.failed(visit, failure);
				return visit.say(failureNotice(failure, port, target, now()));
			},
		};
	}
}

/** What an answer depends on is read now: later, when the box has failed, the request's fields are not at hand any more. */
function visitOf({ target, port, routedBy }: Destination, arrival: Arrival, route: RouteParser): Visit {
	const { request, requestId, sender, admission, heldUntilMs } = arrival;
	const reader = readerOf(request);
	const cors = corsFields({ request, sender, target }, route);
	const say: Visit["say"] = (notice, form) => respond(notice, requestId, reader, cors, form);
	// Named one by one, which is several times as fast as spreading the two: every request comes by here.
	return { request, requestId, sender, admission, heldUntilMs, target, port, routedBy, say };
}
