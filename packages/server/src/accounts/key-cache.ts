import type { Principal } from "./roles.js";

const MAX_ENTRIES = 1_000;
/** A key that was revoked behind our back (by hand in the database) is good for no longer than this. */
const MAX_AGE_MS = 5_000;

/** Who recent keys belong to, by the key's hash. Holds no unknown keys: guessing must not push out real ones. */
export class KeyCache {
	readonly #entries = new Map<string, { principal: Principal; untilMs: number }>();
	readonly #now: () => number;
	#epoch = 0;

	constructor(now: () => number) {
		this.#now = now;
	}

	get(hash: string): Principal | undefined {
		const entry = this.#entries.get(hash);
		if (entry === undefined) return undefined;
		if (entry.untilMs > this.#now()) return entry.principal;
		this.#entries.delete(hash);
		return undefined;
	}

	/** Changes at each `clear`. An answer that was read in an earlier epoch may be about a key revoked since. */
	get epoch(): number {
		return this.#epoch;
	}

	set(hash: string, principal: Principal, epoch: number): void {
		if (epoch !== this.#epoch) return;
		const oldest = this.#entries.keys().next();
		if (this.#entries.size >= MAX_ENTRIES && !oldest.done) this.#entries.delete(oldest.value);
		this.#entries.set(hash, { principal, untilMs: this.#now() + MAX_AGE_MS });
	}

	clear(): void {
		this.#epoch++;
		this.#entries.clear();
	}
}
