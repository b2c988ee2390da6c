import { Passes, type TunnelDirectory, type TunnelTarget } from "../devboxes/index.js";
import type { LocalResponse, RequestInfo } from "./decision.js";
import { createForwarding } from "./forwarding.js";
import { readerOf, respond } from "./pages.js";
import type { Visit } from "./visit.js";

/** Helpers of this folder's tests. */

export const passes = new Passes(Buffer.alloc(32, 7));

export function target(change: Partial<TunnelTarget> = {}): TunnelTarget {
	return {
		devboxId: "dbx_a",
		key: "keya",
		authMode: "open",
		token: null,
		generation: 1,
		httpKeepAlive: true,
		wakes: false,
		wakeMode: "retry",
		corsOrigins: [],
		loopbackPorts: [],
		portRules: new Map(),
		shareLinks: new Map(),
		status: "running",
		address: "10.0.0.2",
		runningSinceMs: 0,
		...change,
	};
}

export class FakeDirectory implements TunnelDirectory {
	readonly woken: string[] = [];
	readonly active: string[] = [];
	#targets: readonly TunnelTarget[];

	constructor(...targets: TunnelTarget[]) {
		this.#targets = targets;
	}

	async lookup(key: string): Promise<TunnelTarget | undefined> {
		return this.#targets.find((candidate) => candidate.key === key);
	}

	wake(devboxId: string): void {
		this.woken.push(devboxId);
	}

	/** Never, unless a test says otherwise. */
	awaitRunning: TunnelDirectory["awaitRunning"] = (_devboxId, signal) =>
		new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

	/** Changes all tunnels. As in the real one, what has changed is another object. */
	change(change: Partial<TunnelTarget>): void {
		this.#targets = this.#targets.map((found) => ({ ...found, ...change }));
	}

	/** Removes all tunnels. */
	clear(): void {
		this.#targets = [];
	}

	activity(devboxId: string): void {
		this.active.push(devboxId);
	}
}

/** `{port}-{key}.tunnel.test`, as the edge's parser has it; and what browsers find without a DNS, `….tunnel.localhost`. */
export function route(authority: string): { port: number; key: string } | undefined {
	const named = /^(\d+)-([a-z0-9]+)\.tunnel\.(?:test|localhost)(?::\d+)?$/.exec(authority);
	return named ? { port: Number(named[1]), key: named[2]! } : undefined;
}

/** `headers` in lower case. */
export function request(
	change: Partial<Omit<RequestInfo, "header" | "onGone">> & { headers?: Record<string, string> } = {},
): RequestInfo {
	const { headers = {}, ...rest } = change;
	return {
		method: "GET",
		target: "/",
		authority: "3000-keya.tunnel.test",
		peerAddress: "192.0.2.7",
		secure: true,
		upgrade: false,
		...rest,
		header: (name) => headers[name],
		onGone: () => {},
	};
}

/** A request that has found its tunnel, at port 3000. */
export function visit(found: TunnelTarget, asked: RequestInfo = request()): Visit {
	return {
		request: asked,
		requestId: "req-1",
		sender: createForwarding([])(asked),
		admission: { client: undefined, tunnel: undefined },
		target: found,
		port: 3000,
		say: (notice, form) => respond(notice, "req-1", readerOf(asked), [], form),
	};
}

export function headerOf(local: LocalResponse, name: string): string | undefined {
	return local.headers.find(([given]) => given === name)?.[1];
}
