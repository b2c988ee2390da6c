import type { TunnelDirectory, TunnelTarget } from "../devboxes/index.js";
import type { LocalResponse, RequestInfo } from "./decision.js";

/** Helpers of this folder's tests. */

export function target(change: Partial<TunnelTarget> = {}): TunnelTarget {
	return {
		devboxId: "dbx_a",
		key: "keya",
		authMode: "open",
		token: null,
		httpKeepAlive: true,
		wakes: false,
		status: "running",
		address: "10.0.0.2",
		runningSinceMs: 0,
		...change,
	};
}

export class FakeDirectory implements TunnelDirectory {
	readonly woken: string[] = [];
	readonly active: string[] = [];
	readonly #targets: readonly TunnelTarget[];

	constructor(...targets: TunnelTarget[]) {
		this.#targets = targets;
	}

	async lookup(key: string): Promise<TunnelTarget | undefined> {
		return this.#targets.find((candidate) => candidate.key === key);
	}

	wake(devboxId: string): void {
		this.woken.push(devboxId);
	}

	activity(devboxId: string): void {
		this.active.push(devboxId);
	}
}

/** `{port}-{key}.tunnel.test`, as the edge's parser has it. */
export function route(authority: string): { port: number; key: string } | undefined {
	const named = /^(\d+)-([a-z0-9]+)\.tunnel\.test(?::\d+)?$/.exec(authority);
	return named ? { port: Number(named[1]), key: named[2]! } : undefined;
}

/** `headers` in lower case. */
export function request(
	change: Partial<Omit<RequestInfo, "header">> & { headers?: Record<string, string> } = {},
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
	};
}

export function headerOf(local: LocalResponse, name: string): string | undefined {
	return local.headers.find(([given]) => given === name)?.[1];
}
