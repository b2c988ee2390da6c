import { Counts, clientKey, Rate } from "../limits/index.js";
import type { Decision } from "./decision.js";
import type { MaybePromise } from "./visit.js";

/** What one client, and one tunnel, may ask for. 0 is no limit. */
export interface RequestLimits {
	/** Requests and WebSockets of one client address that are under way at one time. */
	readonly addressRequests: number;
	/** Requests of one client address per second; ten seconds' worth may come at once. */
	readonly addressRate: number;
	/** The same of one tunnel, from all clients together. */
	readonly tunnelRequests: number;
	readonly tunnelRate: number;
}

const noLimits: RequestLimits = { addressRequests: 0, addressRate: 0, tunnelRequests: 0, tunnelRate: 0 };

/** The limit that a request was over. */
type Excess = "address_requests" | "address_rate" | "tunnel_requests" | "tunnel_rate";

/**
 * Keeps the limits. A request enters twice: for its client before anything else, so that guessing tokens is limited
 * too, and for its tunnel once it may pass, so that strangers cannot use up what a private tunnel is allowed.
 */
export class Limiter {
	readonly #clients: Quota;
	readonly #tunnels: Quota;
	readonly #refused = { address_requests: 0, address_rate: 0, tunnel_requests: 0, tunnel_rate: 0 };

	/** @param now milliseconds of a clock that never goes back. */
	constructor(limits: Partial<RequestLimits> = {}, now = () => performance.now()) {
		const { addressRequests, addressRate, tunnelRequests, tunnelRate } = { ...noLimits, ...limits };
		this.#clients = new Quota(addressRequests, addressRate, now);
		this.#tunnels = new Quota(tunnelRequests, tunnelRate, now);
	}

	/** A request has come from this address; undefined when that is over a limit. An unknown address is not limited. */
	enter(address: string | undefined): Admission | undefined {
		if (address === undefined || this.#clients.unlimited) return { client: undefined, tunnel: undefined };
		const client = clientKey(address);
		const excess = this.#clients.enter(client);
		if (excess !== undefined) this.#refused[`address_${excess}`]++;
		return excess === undefined ? { client, tunnel: undefined } : undefined;
	}

	/**
	 * The request may use the tunnel with this key; false when that is over a limit. One that was held asks again: that
	 * counts once, and if the key is another by then, under that one.
	 */
	enterTunnel(admission: Admission, key: string): boolean {
		if (this.#tunnels.unlimited || admission.tunnel === key) return true;
		this.#leaveTunnel(admission);
		const excess = this.#tunnels.enter(key);
		if (excess !== undefined) this.#refused[`tunnel_${excess}`]++;
		else admission.tunnel = key;
		return excess === undefined;
	}

	/** Decides about a request that has entered: one that no box gets leaves at once, the others when they have ended. */
	decide(admission: Admission, work: () => MaybePromise<Decision>): MaybePromise<Decision> {
		try {
			const decision = work();
			if (!(decision instanceof Promise)) return this.#settle(admission, decision);
			return decision.then(
				(made) => this.#settle(admission, made),
				(error) => this.#fail(admission, error),
			);
		} catch (error) {
			return this.#fail(admission, error);
		}
	}

	#settle(admission: Admission, decision: Decision): Decision {
		if (decision.kind !== "proxy") this.leave(admission);
		return decision;
	}

	#fail(admission: Admission, error: unknown): never {
		this.leave(admission);
		throw error;
	}

	/** The request is over, in whatever way. Twice is fine. */
	leave(admission: Admission): void {
		if (admission.client !== undefined) this.#clients.leave(admission.client);
		admission.client = undefined;
		this.#leaveTunnel(admission);
	}

	#leaveTunnel(admission: Admission): void {
		if (admission.tunnel !== undefined) this.#tunnels.leave(admission.tunnel);
		admission.tunnel = undefined;
	}

	/** Requests refused so far. */
	get refused(): Readonly<Record<Excess, number>> {
		return this.#refused;
	}

	/** Clients and tunnels with something under way. */
	get underWay(): number {
		return this.#clients.underWay + this.#tunnels.underWay;
	}
}

/** What a request that was let in is counted under, until it leaves. */
export interface Admission {
	client: string | undefined;
	tunnel: string | undefined;
}

/** How much may be under way, and how fast it may come, under each of many keys. */
class Quota {
	readonly #most: number;
	readonly #rate: Rate | undefined;
	readonly #now: () => number;
	/** Only keys with something under way, so no more than there are requests. */
	readonly #underWay = new Counts();

	constructor(most: number, rate: number, now: () => number) {
		this.#most = most;
		this.#rate = rate > 0 ? new Rate(rate) : undefined;
		this.#now = now;
	}

	get unlimited(): boolean {
		return this.#most === 0 && this.#rate === undefined;
	}

	get underWay(): number {
		return this.#underWay.size;
	}

	enter(key: string): "requests" | "rate" | undefined {
		if (this.#most > 0 && this.#underWay.of(key) >= this.#most) return "requests";
		if (this.#rate?.take(key, this.#now()) === false) return "rate";
		this.#underWay.add(key);
		return undefined;
	}

	leave(key: string): void {
		this.#underWay.remove(key);
	}
}
