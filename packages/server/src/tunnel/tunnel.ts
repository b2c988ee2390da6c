import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Logger } from "pino";
import type { Decide, LocalResponse, RequestInfo } from "./decision.js";
import {
	type ClientOptions,
	Engine,
	type Http2Options,
	type Limits,
	type RequestRecord,
	type Timeouts,
} from "./engine/index.js";
import * as notices from "./notices.js";
import { readerOf, respond } from "./pages.js";

export interface TunnelOptions {
	readonly decide: Decide;
	readonly log: Logger;
	/** Peers that `limits.clientsPerAddress` is not meant for: trusted proxies. Default: none. */
	readonly exempt?: (peerAddress: string) => boolean;
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

	constructor({ decide, log, exempt = () => false, timeouts = {}, limits = {} }: TunnelOptions) {
		this.#log = log;
		this.#engine = new Engine({
			decide,
			timeouts,
			limits,
			exempt,
			refuse: (status, request) => this.#refuse(notices.refused(status), request),
			tooMany: (excess, request) =>
				this.#refuse(excess === "clients" ? notices.full : notices.tooManyConnections, request),
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
		afterDecisions(() => this.#engine.dropDevbox(devboxId));
	}

	/** Ends every request and connection of a devbox that was let in with `grant`. */
	dropGrant(devboxId: string, grant: string): void {
		afterDecisions(() => this.#engine.dropGrant(devboxId, grant));
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

	/** Answers what never comes to `decide`. The log has to know the id that is told. */
	#refuse(notice: notices.Notice, request: RequestInfo | undefined): LocalResponse {
		const requestId = randomUUID();
		this.#log.debug({ requestId, status: notice.status }, "tunnel request refused");
		return respond(notice, requestId, request && readerOf(request));
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

/**
 * A request that was decided by what its tunnel was a moment ago is a few promises away from its connection. Whoever asks for
 * the tunnel from now on sees the new one, so at the end of this turn no such request is left on the way.
 */
function afterDecisions(work: () => void): void {
	setImmediate(work);
}
