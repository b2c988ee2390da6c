import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Logger } from "pino";
import type { Decide } from "./decision.js";
import {
	type ClientOptions,
	Engine,
	type Http2Options,
	type Limits,
	type RequestRecord,
	type Timeouts,
} from "./engine/index.js";

export interface TunnelOptions {
	readonly decide: Decide;
	readonly log: Logger;
	readonly timeouts?: Partial<Timeouts>;
	readonly limits?: Partial<Limits>;
}

/** What has ended since the start, and what is open. */
export interface TunnelCounts {
	/** Ended requests, upgrades included: answered by a box, answered by Gangway, or broken off. */
	readonly requests: Readonly<Record<Outcome, number>>;
	/** Ended connections that had become another protocol. */
	readonly upgrades: number;
	/** Of bodies and upgraded connections. */
	readonly bytesIn: number;
	readonly bytesOut: number;
	readonly live: {
		/** Requests that a box has. */
		readonly request: number;
		readonly upgrade: number;
	};
	/** Open connections to boxes, idle ones included. */
	readonly upstreams: number;
}

export type Outcome = "proxied" | "local" | "aborted";

/** The HTTP door of the devboxes: behaviour is `decide`'s, bytes are the engine's, the account of both is kept here. */
export class Tunnel {
	readonly #engine: Engine;
	readonly #log: Logger;
	readonly #requests: Record<Outcome, number> = { proxied: 0, local: 0, aborted: 0 };
	#upgrades = 0;
	#bytesIn = 0;
	#bytesOut = 0;

	constructor({ decide, log, timeouts = {}, limits = {} }: TunnelOptions) {
		this.#log = log;
		this.#engine = new Engine({
			decide,
			timeouts,
			limits,
			finished: (record) => this.#finished(record),
			unexpected: (error) => log.error({ err: error }, "a tunnel request failed unexpectedly"),
		});
	}

	/** Takes a fresh HTTP/1.1 connection; whether to keep it is told by `options.ours` of its first request. */
	accept(socket: Socket, options: ClientOptions): void {
		this.#engine.accept(socket, options);
	}

	/** Takes one request that came over HTTP/2. */
	stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, options: Http2Options): void {
		this.#engine.acceptHttp2Stream(stream, headers, options);
	}

	/** Ends every request and connection of a devbox: it stopped, or its tunnel's credential is no longer good. */
	drop(devboxId: string): void {
		this.#engine.dropDevbox(devboxId);
	}

	/** Refuses new work, lets running requests finish for a time, then ends them. */
	close(options: { readonly graceMs: number }): Promise<void> {
		return this.#engine.close(options);
	}

	get counts(): TunnelCounts {
		const { upstreams, idleUpstreams, upgrades } = this.#engine.stats();
		return {
			requests: { ...this.#requests },
			upgrades: this.#upgrades,
			bytesIn: this.#bytesIn,
			bytesOut: this.#bytesOut,
			live: { request: upstreams - idleUpstreams - upgrades, upgrade: upgrades },
			upstreams,
		};
	}

	#finished(record: RequestRecord): void {
		const { requestId, devboxId, method, status, bytesFromClient, bytesToClient, durationMs, upgraded } = record;
		const outcome = record.outcome === "aborted" ? "aborted" : record.local ? "local" : "proxied";
		this.#requests[outcome]++;
		if (upgraded) this.#upgrades++;
		this.#bytesIn += bytesFromClient;
		this.#bytesOut += bytesToClient;
		// What a user is shown with a request id must be found in the log, so failures of ours are no debug matter.
		const level = record.local && status >= 500 ? "info" : "debug";
		if (!this.#log.isLevelEnabled(level)) return;
		// Never the target: query strings carry tokens.
		this.#log[level](
			{
				requestId,
				devboxId,
				method,
				status,
				bytesIn: bytesFromClient,
				bytesOut: bytesToClient,
				durationMs: Math.round(durationMs),
				outcome,
			},
			"tunnel request",
		);
	}
}
