import type { Logger } from "pino";
import { maxTimerMs } from "./idle.js";
import type { DevboxRepository } from "./repository.js";

interface DeadlinesOptions {
	readonly repository: DevboxRepository;
	/** What becomes of a box whose time is over. */
	readonly suspend: (devboxId: string) => Promise<unknown>;
	readonly shutdown: (devboxId: string) => Promise<unknown>;
	readonly log: Logger;
}

/** How long after a failure what is due is looked for again. */
const retryMs = 60_000;

/** Ends runs and lives of devboxes at times of the day that were set for them, which `IdleClocks` know nothing of. */
export class Deadlines {
	readonly #options: DeadlinesOptions;
	/** One timer, for the box whose time is over first. */
	#timer: NodeJS.Timeout | undefined;
	#dueMs = Number.POSITIVE_INFINITY;
	#closed = false;

	constructor(options: DeadlinesOptions) {
		this.#options = options;
		// One that was late in starting may have to be suspended at once.
		options.repository.on("transited", (_, status) => {
			if (status === "running") void this.look();
		});
	}

	/** Some box's time is over then. */
	arm(atMs: number): void {
		if (this.#closed || atMs >= this.#dueMs) return;
		clearTimeout(this.#timer);
		this.#dueMs = atMs;
		const waitMs = Math.min(maxTimerMs, Math.max(0, atMs - Date.now()));
		this.#timer = setTimeout(() => void this.look(), waitMs);
		this.#timer.unref();
	}

	/** Ends what is due, and goes on to do so. Never rejects. */
	async look(): Promise<void> {
		const { repository, suspend, shutdown, log } = this.#options;
		if (this.#closed) return;
		this.#dueMs = Number.POSITIVE_INFINITY;
		try {
			const expired = await repository.expired(Date.now());
			for (const id of expired.shutdown) await shutdown(id);
			for (const id of expired.suspend) await suspend(id);
			const nextMs = await repository.nextExpiry();
			if (nextMs !== undefined) this.arm(nextMs);
		} catch (error) {
			if (this.#closed) return;
			log.error({ err: error }, "devboxes whose time is over could not be ended");
			this.arm(Date.now() + retryMs);
		}
	}

	close(): void {
		this.#closed = true;
		clearTimeout(this.#timer);
	}
}

/** When a box that is claimed or resumed now is suspended; null: never. */
export function expiresAt(ttlSeconds: number | undefined, nowMs: number): number | null {
	return ttlSeconds ? nowMs + ttlSeconds * 1000 : null;
}
