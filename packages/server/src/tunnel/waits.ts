export interface WaitsOptions {
	/** Requests of one tunnel that may wait at one time. Default: 1000. */
	readonly maxWaiters?: number;
}

/** `over`: it happened; `failed`: it will not; `late`: not in time; `busy`: too many wait already. */
export type WaitOutcome = "over" | "failed" | "late" | "busy";

export interface Waiter {
	/** Of whom only so many may wait. */
	readonly tunnelKey: string;
	/** When it gives up, by `performance.now()`. */
	readonly untilMs: number;
	/** Calls back when nobody is there any more to be told. */
	onGone(listener: () => void): void;
}

interface Wait {
	readonly key: string;
	readonly end: AbortController;
	readonly waiting: Map<Waiter, (outcome: WaitOutcome) => void>;
}

/** Waiters that are late are looked for this often: one timer for all. */
const tickMs = 100;

/** Many requests that wait for few things: what is waited for is done once for all of them, and no longer than one is left. */
export class Waits {
	readonly #maxWaiters: number;
	readonly #waits = new Map<string, Wait>();
	/** By tunnel. */
	readonly #counts = new Map<string, number>();
	/** Runs only while somebody waits. */
	#timer: NodeJS.Timeout | undefined;

	constructor({ maxWaiters = 1_000 }: WaitsOptions = {}) {
		this.#maxWaiters = maxWaiters;
	}

	/** Waits for what `key` names. `work` is begun by the first to come, told by its signal when the last has left, and rejects when it fails. */
	join(key: string, waiter: Waiter, work: (signal: AbortSignal) => Promise<unknown>): Promise<WaitOutcome> {
		const count = this.#counts.get(waiter.tunnelKey) ?? 0;
		if (count >= this.#maxWaiters) return Promise.resolve("busy");
		if (performance.now() >= waiter.untilMs) return Promise.resolve("late");
		this.#counts.set(waiter.tunnelKey, count + 1);
		const wait = this.#waits.get(key) ?? this.#begin(key, work);
		this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
		return new Promise((resolve) => {
			wait.waiting.set(waiter, resolve);
			waiter.onGone(() => this.#leave(wait, waiter, "late"));
		});
	}

	#begin(key: string, work: (signal: AbortSignal) => Promise<unknown>): Wait {
		const wait: Wait = { key, end: new AbortController(), waiting: new Map() };
		this.#waits.set(key, wait);
		work(wait.end.signal).then(
			() => this.#settle(wait, "over"),
			() => this.#settle(wait, "failed"),
		);
		return wait;
	}

	#settle(wait: Wait, outcome: WaitOutcome): void {
		for (const waiter of [...wait.waiting.keys()]) this.#leave(wait, waiter, outcome);
	}

	#leave(wait: Wait, waiter: Waiter, outcome: WaitOutcome): void {
		const resolve = wait.waiting.get(waiter);
		if (!resolve) return;
		wait.waiting.delete(waiter);
		this.#uncount(waiter.tunnelKey);
		if (wait.waiting.size === 0) {
			this.#waits.delete(wait.key);
			wait.end.abort();
		}
		if (this.#waits.size === 0) {
			clearInterval(this.#timer);
			this.#timer = undefined;
		}
		resolve(outcome);
	}

	#uncount(tunnelKey: string): void {
		const count = this.#counts.get(tunnelKey)!;
		if (count > 1) this.#counts.set(tunnelKey, count - 1);
		else this.#counts.delete(tunnelKey);
	}

	#tick(): void {
		const now = performance.now();
		for (const wait of [...this.#waits.values()]) {
			for (const waiter of [...wait.waiting.keys()]) if (now >= waiter.untilMs) this.#leave(wait, waiter, "late");
		}
	}
}
