import { UnavailableError } from "../errors.js";
import type { Devbox } from "./devbox.js";
import type { Devboxes } from "./devboxes.js";
import { devboxIdOfLabel } from "./ids.js";
import { isEnded } from "./lifecycle.js";

/** What the tunnel needs to know of devboxes. Look-ups are in memory when warm. */
export interface TunnelDirectory {
	/** The live tunnel with this key; undefined when there is none (never was, removed, or its devbox has ended). */
	lookup(key: string): TunnelTarget | undefined | Promise<TunnelTarget | undefined>;
	/** Starts a resume if the devbox is suspended; concurrent calls start one. Never throws; progress shows in `lookup`. */
	wake(devboxId: string): void;
	/** Something happened that resets the idle clock. Cheap: may be called for every chunk. */
	activity(devboxId: string): void;
}

export interface TunnelTarget {
	readonly devboxId: string;
	readonly key: string;
	readonly authMode: "open" | "authenticated";
	/** Null when open. A secret: compare in constant time, never log. */
	readonly token: string | null;
	readonly httpKeepAlive: boolean;
	/** HTTP may resume the box. */
	readonly wakes: boolean;
	readonly status: string;
	/** IPv4 address while running, else null. */
	readonly address: string | null;
	/** When the present run began, epoch ms: a port refused shortly after a resume is "starting", not "nothing listens". */
	readonly runningSinceMs: number | null;
}

/** What the SSH doors need to know of devboxes. */
export interface SshDirectory {
	/** The devbox whose passthrough name starts with `label` (its id with `_` as `-`). */
	lookupLabel(label: string): Promise<SshTarget | undefined>;
	/** Resumes the box if it is suspended and resolves when it runs; rejects when it cannot. */
	awaitRunning(devboxId: string, signal: AbortSignal): Promise<SshTarget>;
	/** Something happened that resets the idle clock. */
	activity(devboxId: string): void;
}

export interface SshTarget {
	readonly devboxId: string;
	readonly status: string;
	/** IPv4 address of the box's sshd (port 22) while running, else null. */
	readonly address: string | null;
	/** `lifecycle.resume_triggers.ssh`: a connection of somebody not yet authenticated may resume the box. */
	readonly wakes: boolean;
}

/** Tunnels that are looked up often are answered from memory; a change of their devbox drops them. */
const maxCached = 10_000;
/** More changes than this during one look-up are no coincidence. */
const maxAttempts = 100;

/** What the doors look devboxes up in. */
export class Directory implements TunnelDirectory, SshDirectory {
	readonly #devboxes: Devboxes;
	readonly #targets = new Map<string, TunnelTarget>();
	readonly #keyOf = new Map<string, string>();
	/** Grows with every change: what was read before one is not cached after it. */
	#epoch = 0;

	constructor(devboxes: Devboxes) {
		this.#devboxes = devboxes;
		devboxes.repository.on("changed", (id) => this.#forget(id));
	}

	lookup(key: string): TunnelTarget | Promise<TunnelTarget | undefined> {
		return this.#targets.get(key) ?? this.#load(key);
	}

	/** What was read while something changed may be out of date, a revoked token for one: it is read again. */
	async #load(key: string): Promise<TunnelTarget | undefined> {
		for (let attempt = 1; ; attempt++) {
			const epoch = this.#epoch;
			const box = await this.#devboxes.repository.findByTunnelKey(key);
			const target = box && this.#tunnelTarget(box);
			if (epoch === this.#epoch) {
				if (target) this.#remember(target);
				return target;
			}
			if (attempt === maxAttempts) throw new UnavailableError("the tunnel could not be looked up");
		}
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
