import { setTimeout as delay } from "node:timers/promises";
import type { Exit } from "../runtime.js";
import type { BoxProcesses, Launched } from "./launcher.js";
import { isAlive, signal } from "./process.js";

const pollMs = 250;
const hurriedPollMs = 10;
/** How long the last bytes of a console may take to be written once everything in the box has ended. */
const flushMs = 5_000;

export interface BoxRunOptions {
	readonly processes: BoxProcesses;
	/** For a box that this process started; others are polled. */
	readonly launched: Launched | undefined;
	/** Takes back what the run had of the host, and says how it ended. Must not reject. */
	readonly finish: () => Promise<Exit>;
}

/** One run of a box, from its start or adoption to its end. */
export class BoxRun {
	readonly processes: BoxProcesses;
	/** Resolves when nothing of the run is left and its console is written. Never rejects, never settles once abandoned. */
	readonly ended: Promise<Exit>;
	readonly #launched: Launched | undefined;
	readonly #hurried = new AbortController();
	readonly #abandoned = new AbortController();

	constructor(options: BoxRunOptions) {
		this.processes = options.processes;
		this.#launched = options.launched;
		this.ended = new Promise((resolve) => {
			this.#watch()
				.then(options.finish)
				.then(resolve, () => {});
		});
	}

	isAlive(): Promise<boolean> {
		return isAlive(this.processes.init);
	}

	/** Resolves with whether the run has ended within `patienceMs`. */
	async end(name: "SIGTERM" | "SIGKILL", patienceMs: number): Promise<boolean> {
		this.#hurried.abort();
		await signal(this.processes.init, name);
		const patience = new AbortController();
		try {
			return await Promise.race([
				this.ended.then(() => true),
				delay(patienceMs, false, { signal: patience.signal }).catch(() => false),
			]);
		} finally {
			patience.abort();
		}
	}

	/** Gives up watching; the run goes on. */
	abandon(): void {
		this.#abandoned.abort();
		this.#launched?.release();
	}

	async #watch(): Promise<void> {
		const { signal } = this.#abandoned;
		if (this.#launched) await Promise.race([this.#launched.ended, aborted(signal)]);
		// The launcher of a box that we started may have been killed alone, so its end is not yet the box's.
		while (await isAlive(this.processes.init)) await this.#pause(signal);
		const deadline = Date.now() + flushMs;
		while ((await isAlive(this.processes.launcher)) && Date.now() < deadline) await delay(2, undefined, { signal });
	}

	/** Short once somebody waits for the end, and cut short by that. */
	async #pause(signal: AbortSignal): Promise<void> {
		if (this.#hurried.signal.aborted) return await delay(hurriedPollMs, undefined, { signal });
		const either = AbortSignal.any([signal, this.#hurried.signal]);
		await delay(pollMs, undefined, { signal: either }).catch(() => signal.throwIfAborted());
	}
}

function aborted(signal: AbortSignal): Promise<never> {
	return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}
