import { once } from "node:events";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import type { TunnelTarget } from "../devboxes/index.js";

/** Reaches what listens on a devbox's loopback. */
export interface Loopback {
	/** Emits "connect", or "error" with a `code` as `node:net` has it. */
	openTcp(devboxId: string, host: string, port: number): Duplex;
}

/** How a port accepts connections: on the box's address, or on this one of its loopback. */
export type Way = "direct" | (typeof loopbackHosts)[number];

/** Some servers, Vite for one, listen on the second only. */
const loopbackHosts = ["127.0.0.1", "::1"] as const;
/** A probe that takes longer has failed. */
const probeMs = 5_000;
/** The oldest is forgotten first, which costs a probe. */
const maxKnown = 10_000;

/** How the ports of running boxes are reached, as far as it was seen in the present run of each. */
export class Ports {
	readonly #loopback: Loopback | undefined;
	readonly #known = new Map<string, { readonly run: number | null; readonly way: Way }>();

	constructor(loopback: Loopback | undefined) {
		this.#loopback = loopback;
	}

	/** What a probe found in this run of the box, unless it was found wrong since. */
	known(target: TunnelTarget, port: number): Way | undefined {
		const known = this.#known.get(keyOf(target, port));
		return known?.run === target.runningSinceMs ? known?.way : undefined;
	}

	forget(target: TunnelTarget, port: number): void {
		this.#known.delete(keyOf(target, port));
	}

	/** Tries each way, the direct one first, and remembers the one that works. Undefined when none does. */
	async probe(target: TunnelTarget, port: number, signal: AbortSignal): Promise<Way | undefined> {
		for (const way of this.#ways(target, port)) {
			if (!(await connects(this.#open(target, port, way), signal))) continue;
			this.#remember(target, port, way);
			return way;
		}
		return undefined;
	}

	/** Connects to the port on the box's loopback, for `ProxyDecision.dial`; undefined for the direct way. */
	dialer(target: TunnelTarget, port: number, way: Way): (() => Duplex) | undefined {
		return way === "direct" ? undefined : () => this.#open(target, port, way);
	}

	#ways({ loopbackPorts }: TunnelTarget, port: number): readonly Way[] {
		return this.#loopback && loopbackPorts.includes(port) ? ["direct", ...loopbackHosts] : ["direct"];
	}

	#open({ devboxId, address }: TunnelTarget, port: number, way: Way): Duplex {
		return way === "direct" ? connect(port, address!) : this.#loopback!.openTcp(devboxId, way, port);
	}

	#remember(target: TunnelTarget, port: number, way: Way): void {
		const key = keyOf(target, port);
		this.#known.delete(key);
		this.#known.set(key, { run: target.runningSinceMs, way });
		if (this.#known.size > maxKnown) this.#known.delete(this.#known.keys().next().value!);
	}
}

function keyOf({ devboxId }: TunnelTarget, port: number): string {
	return `${devboxId} ${port}`;
}

async function connects(stream: Duplex, signal: AbortSignal): Promise<boolean> {
	stream.on("error", () => {});
	try {
		await once(stream, "connect", { signal: AbortSignal.any([signal, AbortSignal.timeout(probeMs)]) });
		return true;
	} catch {
		return false;
	} finally {
		stream.destroy();
	}
}
