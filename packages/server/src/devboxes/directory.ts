import { UnavailableError } from "../errors.js";
import type { Devbox, PortRule, SshAccess } from "./devbox.js";
import type { Devboxes } from "./devboxes.js";
import { devboxIdOfLabel } from "./ids.js";
import { isEnded, type Status } from "./lifecycle.js";

/** What the tunnel needs to know of devboxes. Look-ups are in memory when warm. */
export interface TunnelDirectory {
	/** The live tunnel with this key; undefined when there is none (never was, removed, or its devbox has ended). */
	lookup(key: string): TunnelTarget | undefined | Promise<TunnelTarget | undefined>;
	/** Starts a resume if the devbox is suspended; concurrent calls start one. Never throws; progress shows in `lookup`. */
	wake(devboxId: string): void;
	/** Resumes the devbox if it is suspended and resolves when it runs; rejects when it cannot, or when `signal` aborts. */
	awaitRunning(devboxId: string, signal: AbortSignal): Promise<unknown>;
	/** Something happened that resets the idle clock. Cheap: may be called for every chunk. */
	activity(devboxId: string): void;
}

export interface TunnelTarget {
	readonly devboxId: string;
	readonly key: string;
	readonly authMode: "open" | "authenticated";
	/** Null when open. A secret: compare in constant time, never log. */
	readonly token: string | null;
	/** Grows whenever the token changes: passes of an earlier one are void. */
	readonly generation: number;
	readonly httpKeepAlive: boolean;
	/** HTTP may resume the box. */
	readonly wakes: boolean;
	/** What a request gets that wakes the box: a 503 to retry after, or a place in the queue until the box answers. */
	readonly wakeMode: "retry" | "hold";
	/** Origins (`https://app.example`) whose pages may call an authenticated tunnel, beside those of its own ports. */
	readonly corsOrigins: readonly string[];
	/** Ports that are reached on the box's loopback when its address refuses them. */
	readonly loopbackPorts: readonly number[];
	readonly portRules: ReadonlyMap<number, PortRule>;
	/** The links that are good, by id. Expired ones may still be among them. */
	readonly shareLinks: ReadonlyMap<string, { readonly port: number; readonly expiresAtMs: number }>;
	readonly status: string;
	/** IPv4 address while running, else null. */
	readonly address: string | null;
	/** When the present run began, epoch ms: a port refused shortly after a resume is "starting", not "nothing listens". */
	readonly runningSinceMs: number | null;
}

/** What the SSH doors need to know of devboxes. */
export interface SshDirectory {
	/** The devbox whose passthrough name starts with `label` (its id with `_` as `-`), unless its team has switched that off. */
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

/** What the daemon's own SSH client needs to know of devboxes. */
export interface SshAccessDirectory {
	/** Rejects with `UnavailableError` when the devbox does not run. */
	sshAccess(devboxId: string): Promise<SshAccess>;
}

/** What the SSH gateway needs to know of devboxes. */
export interface GatewayDirectory extends SshAccessDirectory {
	/** Undefined when there is no such devbox (any more). */
	lookupDevbox(devboxId: string): Promise<GatewayTarget | undefined>;
	/** Resumes the box if it is suspended and resolves when it runs; rejects when it cannot. */
	awaitRunning(devboxId: string, signal: AbortSignal): Promise<unknown>;
	/** Something happened that resets the idle clock. Cheap: may be called for every chunk. */
	activity(devboxId: string): void;
}

export interface GatewayTarget {
	readonly teamId: string;
	readonly status: Status;
	/** Somebody who has authenticated may resume the box by connecting to it. */
	readonly resumes: boolean;
}

/** Tunnels that are looked up often are answered from memory; a change of their devbox drops them. */
const maxCached = 10_000;
/** More changes than this during one look-up are no coincidence. */
const maxAttempts = 100;

/** What the doors look devboxes up in. */
export class Directory implements TunnelDirectory, SshDirectory, GatewayDirectory {
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
		if (!box || isEnded(box.status) || !(await this.#devboxes.repository.passthroughEnabled(box.teamId)))
			return undefined;
		return this.#sshTarget(box);
	}

	async lookupDevbox(devboxId: string): Promise<GatewayTarget | undefined> {
		const box = await this.#devboxes.repository.find(devboxId);
		if (!box || isEnded(box.status)) return undefined;
		const resumes = box.launchParameters.resumeTriggers?.ssh !== false;
		return { teamId: box.teamId, status: box.status, resumes };
	}

	wake(devboxId: string): void {
		void this.#devboxes.wake(devboxId);
	}

	async awaitRunning(devboxId: string, signal: AbortSignal): Promise<SshTarget> {
		await this.#devboxes.awaitRunning(devboxId, signal);
		const box = await this.#devboxes.repository.find(devboxId);
		return this.#sshTarget(box!);
	}

	sshAccess(devboxId: string): Promise<SshAccess> {
		return this.#devboxes.sshAccess(devboxId);
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
			generation: tunnel.generation,
			wakes: box.launchParameters.resumeTriggers?.http ?? tunnel.wakeOnHttp,
			wakeMode: tunnel.wakeMode,
			corsOrigins: tunnel.corsOrigins,
			loopbackPorts: tunnel.loopbackPorts,
			portRules: new Map(Object.entries(tunnel.portRules).map(([port, rule]) => [Number(port), rule])),
			shareLinks: new Map(tunnel.shareLinks.map(({ id, port, expiresAtMs }) => [id, { port, expiresAtMs }])),
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
