import type { LaunchParameters } from "./devbox.js";

export interface LifetimeSettings {
	/** Seconds; 0 is none. */
	readonly defaultLifetime: number;
	readonly maxLifetime: number;
}

/** What ends a run by itself, worked out once when it begins. Times in milliseconds; undefined is never. */
export interface RunLimits {
	readonly idle: { readonly afterMs: number; readonly action: "suspend" | "shutdown" } | undefined;
	/** How long the box may run in all; the time it is suspended does not count. */
	readonly lifetimeMs: number | undefined;
}

/** With an idle policy, the lifetime that the request names is ignored; the installation's maximum never is. */
export function runLimits(launch: LaunchParameters, settings: LifetimeSettings): RunLimits {
	const asked = launch.keepAliveTimeSeconds ?? settings.defaultLifetime;
	const lifetimes = [launch.afterIdle ? 0 : asked, settings.maxLifetime].filter((seconds) => seconds > 0);
	return {
		idle: launch.afterIdle && {
			afterMs: launch.afterIdle.idleTimeSeconds * 1000,
			action: launch.afterIdle.onIdle,
		},
		lifetimeMs: lifetimes.length > 0 ? Math.min(...lifetimes) * 1000 : undefined,
	};
}

export type Expiry = "idle_suspend" | "idle_shutdown" | "lifetime";

/** A timer cannot wait longer than this; a longer one is armed again on the way. */
export const maxTimerMs = 2 ** 31 - 1;

/** The clocks of running devboxes. Activity only notes the time: the timer looks at it when it fires. */
export class IdleClocks {
	readonly #onExpiry: (devboxId: string, expiry: Expiry) => void;
	readonly #clocks = new Map<string, Clock>();

	constructor(onExpiry: (devboxId: string, expiry: Expiry) => void) {
		this.#onExpiry = onExpiry;
	}

	/** A run has begun. `ranBeforeMs` is what earlier runs took of the lifetime, `runningSinceMs` when this one began. */
	start(devboxId: string, limits: RunLimits, ranBeforeMs: number, runningSinceMs: number): void {
		this.stop(devboxId);
		const lifetimeEndMs =
			limits.lifetimeMs === undefined
				? Number.POSITIVE_INFINITY
				: runningSinceMs + Math.max(0, limits.lifetimeMs - ranBeforeMs);
		const clock: Clock = { limits, lifetimeEndMs, lastActivityMs: Date.now(), timer: undefined };
		this.#clocks.set(devboxId, clock);
		this.#arm(devboxId, clock);
	}

	isRunning(devboxId: string): boolean {
		return this.#clocks.has(devboxId);
	}

	stop(devboxId: string): void {
		clearTimeout(this.#clocks.get(devboxId)?.timer);
		this.#clocks.delete(devboxId);
	}

	activity(devboxId: string): void {
		const clock = this.#clocks.get(devboxId);
		if (clock) clock.lastActivityMs = Date.now();
	}

	close(): void {
		for (const id of this.#clocks.keys()) this.stop(id);
	}

	#arm(devboxId: string, clock: Clock): void {
		const { idle } = clock.limits;
		const idleEndMs = idle ? clock.lastActivityMs + idle.afterMs : Number.POSITIVE_INFINITY;
		const endMs = Math.min(idleEndMs, clock.lifetimeEndMs);
		if (endMs === Number.POSITIVE_INFINITY) return;
		const waitMs = Math.min(maxTimerMs, Math.max(0, endMs - Date.now()));
		clock.timer = setTimeout(() => this.#check(devboxId, clock), waitMs);
		clock.timer.unref();
	}

	#check(devboxId: string, clock: Clock): void {
		const now = Date.now();
		const { idle } = clock.limits;
		if (now >= clock.lifetimeEndMs) this.#onExpiry(devboxId, "lifetime");
		else if (idle && now >= clock.lastActivityMs + idle.afterMs) this.#onExpiry(devboxId, `idle_${idle.action}`);
		else this.#arm(devboxId, clock);
	}
}

interface Clock {
	readonly limits: RunLimits;
	readonly lifetimeEndMs: number;
	lastActivityMs: number;
	timer: NodeJS.Timeout | undefined;
}
