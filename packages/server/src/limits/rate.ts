/** What a bucket holds unless told otherwise: what comes in so long. */
const usualBurstMs = 10_000;
/** Keys remembered at least before the oldest are forgotten. */
const maxKeys = 65_536;

/**
 * Token buckets, one for each of many keys, kept as the time at which each is full again (as the generic cell rate
 * algorithm does, ITU-T I.371). A bucket that was not used for `burstMs` is full, like one that was never used: so two maps
 * that take turns forget what needs no remembering, without a timer or a search.
 */
export class Rate {
	readonly #intervalMs: number;
	readonly #burstMs: number;
	#recent = new Map<string, number>();
	#earlier = new Map<string, number>();
	#turnedMs = 0;

	constructor(perSecond: number, burstMs = usualBurstMs) {
		this.#intervalMs = 1000 / perSecond;
		this.#burstMs = burstMs;
	}

	/** False when the bucket is empty. `now` is in milliseconds. */
	take(key: string, now: number): boolean {
		if (now - this.#turnedMs >= this.#burstMs || this.#recent.size >= maxKeys) {
			this.#earlier = this.#recent;
			this.#recent = new Map();
			this.#turnedMs = now;
		}
		if (this.isEmpty(key, now)) return false;
		this.#recent.set(key, this.#fullAt(key, now) + this.#intervalMs);
		return true;
	}

	/** The next `take` would be false. */
	isEmpty(key: string, now: number): boolean {
		// Half an interval of tolerance: sums of fractions are not exact.
		return this.#fullAt(key, now) - now + this.#intervalMs / 2 > this.#burstMs;
	}

	#fullAt(key: string, now: number): number {
		return Math.max(now, this.#recent.get(key) ?? this.#earlier.get(key) ?? 0);
	}
}
