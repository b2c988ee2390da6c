import { Counts, clientKey, Rate } from "../../limits/index.js";

/** What one address, and one user, may have of the gateway. 0 is no limit. */
export interface GatewayLimits {
	/** Connections of one address per second; ten seconds' worth may come at once. */
	readonly addressRate: number;
	/** Connections of one address per minute on which every key was refused; then it waits. */
	readonly addressFailures: number;
	/** Connections of one user at one time. */
	readonly userConnections: number;
	/** Sessions of one connection at one time. */
	readonly connectionSessions: number;
}

const minuteMs = 60_000;

/** Keeps the limits that are not of one connection. Of IPv6, a /64 is one address. */
export class Admission {
	readonly #rate: Rate | undefined;
	readonly #failures: Rate | undefined;
	readonly #userConnections: number;
	readonly #users = new Counts();
	readonly #now: () => number;

	/** @param now milliseconds of a clock that never goes back. */
	constructor(limits: GatewayLimits, now = () => performance.now()) {
		this.#rate = limits.addressRate > 0 ? new Rate(limits.addressRate) : undefined;
		this.#failures = limits.addressFailures > 0 ? new Rate(limits.addressFailures / 60, minuteMs) : undefined;
		this.#userConnections = limits.userConnections;
		this.#now = now;
	}

	/** A connection has come; returns why it is too many, if it is. */
	enter(address: string): "too many connections" | "too many failed logins" | undefined {
		const client = clientKey(address);
		if (this.#failures?.isEmpty(client, this.#now())) return "too many failed logins";
		if (this.#rate?.take(client, this.#now()) === false) return "too many connections";
		return undefined;
	}

	/** Somebody at this address had no good key. */
	failed(address: string): void {
		this.#failures?.take(clientKey(address), this.#now());
	}

	/** A user has logged in once more; false when that is once too often. */
	enterUser(userId: string): boolean {
		if (this.#userConnections > 0 && this.#users.of(userId) >= this.#userConnections) return false;
		this.#users.add(userId);
		return true;
	}

	/** To be called once for each `enterUser` that was true. */
	leaveUser(userId: string): void {
		this.#users.remove(userId);
	}
}
