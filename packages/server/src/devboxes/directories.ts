import type { SshDirectory, SshTarget } from "../ssh/directory.js";
import type { TunnelDirectory, TunnelTarget } from "../tunnel/directory.js";
import type { Devbox } from "./devbox.js";
import type { Devboxes } from "./devboxes.js";
import { devboxIdOfLabel } from "./ids.js";
import { isEnded } from "./lifecycle.js";

/** Tunnels that are looked up often are answered from memory; a change of their devbox drops them. */
const maxCached = 10_000;

/** What the doors look devboxes up in. */
export class Directories implements TunnelDirectory, SshDirectory {
	readonly #devboxes: Devboxes;
	readonly #targets = new Map<string, TunnelTarget>();
	readonly #keyOf = new Map<string, string>();
	/** Grows with every change: what was read before one is not cached after it. */
	#epoch = 0;

	constructor(devboxes: Devboxes) {
		this.#devboxes = devboxes;
		devboxes.repository.on("changed", (id) => this.#forget(id));
	}

	async lookup(key: string): Promise<TunnelTarget | undefined> {
		const cached = this.#targets.get(key);
		if (cached) return cached;
		const epoch = this.#epoch;
		const box = await this.#devboxes.repository.findByTunnelKey(key);
		const target = box && this.#tunnelTarget(box);
		if (target && epoch === this.#epoch) this.#remember(target);
		return target;
	}

	async lookupLabel(label: string): Promise<SshTarget | undefined> {
		const id = devboxIdOfLabel(label);
		const box = id === undefined ? undefined : await this.#devboxes.repository.find(id);
		return box && !isEnded(box.status) ? this.#sshTarget(box) : undefined;
	}

	wake(devboxId: string): void {
		void this.#devboxes.wake(devboxId);
	}

	async awaitRunning(devboxId: string, signal: AbortSignal): Promise<SshTarget> {
		await this.#devboxes.awaitRunning(devboxId, signal);
		const box = await this.#devboxes.repository.find(devboxId);
		return this.#sshTarget(box!);
	}

	activity(devboxId: string): void {
		this.#devboxes.activity(devboxId);
	}

	#tunnelTarget(box: Devbox): TunnelTarget | undefined {
		const { tunnel } = box;
		if (!tunnel || isEnded(box.status)) return undefined;
		const running = box.status === "running";
		return {
			devboxId: box.id,
			key: tunnel.key,
			authMode: tunnel.authMode,
			token: tunnel.token,
			httpKeepAlive: tunnel.httpKeepAlive,
			wakes: box.launchParameters.resumeTriggers?.http ?? tunnel.wakeOnHttp,
			status: box.status,
			address: (running && this.#devboxes.address(box.id)) || null,
			runningSinceMs: running ? (box.transitions.at(-1)?.atMs ?? null) : null,
		};
	}

	#sshTarget(box: Devbox): SshTarget {
		return {
			devboxId: box.id,
			status: box.status,
			address: (box.status === "running" && this.#devboxes.address(box.id)) || null,
			wakes: box.launchParameters.resumeTriggers?.ssh === true,
		};
	}

	#remember(target: TunnelTarget): void {
		if (this.#targets.size >= maxCached) this.#forget(this.#targets.values().next().value!.devboxId);
		this.#targets.set(target.key, target);
		this.#keyOf.set(target.devboxId, target.key);
	}

	#forget(devboxId: string): void {
		this.#epoch++;
		const key = this.#keyOf.get(devboxId);
		this.#keyOf.delete(devboxId);
		if (key !== undefined) this.#targets.delete(key);
	}
}
