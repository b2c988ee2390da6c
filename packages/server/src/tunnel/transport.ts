import { randomUUID } from "node:crypto";
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Decide, Decision, LocalResponse, ProxyDecision, UpstreamFailure } from "./decision.js";
import { Exchange, type Upgrading } from "./exchange.js";
import { joined } from "./fields.js";
import { type Arrival, type Front, type FrontRequest, type FrontResponse, readFront, writeLocal } from "./front.js";
import { defaultLimits, type TunnelLimits } from "./limits.js";
import * as notices from "./notices.js";
import { respond } from "./pages.js";
import { UpstreamPool } from "./upstream.js";

export interface TunnelOptions {
	readonly decide: Decide;
	readonly log: Logger;
	readonly limits?: Partial<TunnelLimits>;
}

/** How the client reached the edge. */
export interface Connection {
	/** Over TLS. */
	readonly secure: boolean;
}

/** What has ended since the start, and what lives. */
export interface TunnelCounts {
	readonly liveRequests: number;
	readonly liveUpgrades: number;
	readonly requests: number;
	readonly upgrades: number;
	/** Answered by Gangway itself without asking a box. */
	readonly local: number;
	readonly bytesIn: number;
	readonly bytesOut: number;
	readonly failures: Readonly<Record<UpstreamFailure, number>>;
}

/** The first transport: node's HTTP, both sides. */
export class Tunnel {
	readonly #decide: Decide;
	readonly #log: Logger;
	readonly #limits: TunnelLimits;
	readonly #pool = new UpstreamPool();
	readonly #live = new Map<string, Set<Exchange>>();
	readonly #totals = { requests: 0, upgrades: 0, local: 0, bytesIn: 0, bytesOut: 0 };
	readonly #failures: Record<UpstreamFailure, number> = {
		refused: 0,
		unreachable: 0,
		connect_timeout: 0,
		response_timeout: 0,
		bad_response: 0,
		closed: 0,
	};
	#closing: Promise<void> | undefined;
	#onIdle: (() => void) | undefined;

	constructor({ decide, log, limits }: TunnelOptions) {
		this.#decide = decide;
		this.#log = log;
		this.#limits = Object.freeze({ ...defaultLimits, ...limits });
	}

	/**
	 * Handles a request of an HTTP/1.1 or HTTP/2 server. Give it the server's `checkContinue` events too, or node tells
	 * the client to go on before the app has a say. Never throws; the response always ends.
	 */
	request(req: FrontRequest, res: FrontResponse, connection: Connection): void {
		void this.#handle(req, res, { secure: connection.secure, upgrade: false }, undefined);
	}

	/** Handles an `upgrade` event of an HTTP/1.1 server. The socket is the tunnel's from now on. */
	upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, connection: Connection): void {
		const client = socket as Socket;
		const res = borrowSocket(req, client);
		// An app that speaks h2c would take further requests past us on this connection ("h2c smuggling"), so that
		// upgrade is not offered and the request is one without it (RFC 9113 3.1 lets a server ignore it).
		const upgrade = !/(^|,)\s*h2c?\s*(,|$)/i.test(joined(req.rawHeaders, "upgrade") ?? "");
		if (!upgrade && hasBody(req)) {
			// Node has stopped parsing: the body is lost in `head`.
			writeLocal(
				{ req, res, expectsContinue: false },
				this.#local(notices.badRequest("HTTP/2 upgrades are not offered."), req),
			);
			return;
		}
		void this.#handle(req, res, { secure: connection.secure, upgrade }, upgrade ? { socket: client, head } : undefined);
	}

	/** Ends every request and connection of a devbox: it stopped, or its tunnel's credential is no longer good. */
	drop(devboxId: string): void {
		for (const exchange of [...(this.#live.get(devboxId) ?? [])]) exchange.abort();
		this.#pool.drop(devboxId);
	}

	/** Answers new requests with 503, lets running ones finish for a time, then ends them. */
	close({ graceMs }: { readonly graceMs: number }): Promise<void> {
		this.#closing ??= this.#drain(graceMs);
		return this.#closing;
	}

	get counts(): TunnelCounts {
		let liveRequests = 0;
		let liveUpgrades = 0;
		for (const exchanges of this.#live.values()) {
			for (const exchange of exchanges) {
				if (exchange.upgraded) liveUpgrades++;
				else liveRequests++;
			}
		}
		return { ...this.#totals, liveRequests, liveUpgrades, failures: { ...this.#failures } };
	}

	async #handle(
		req: FrontRequest,
		res: FrontResponse,
		arrival: Arrival,
		upgrading: Upgrading | undefined,
	): Promise<void> {
		const startedAt = performance.now();
		// A reset client is no error of ours; what it means is seen in `close`.
		req.on("error", () => {});
		res.on("error", () => {});
		let gone = false;
		res.once("close", () => {
			gone = true;
		});
		const [front, defect] = readFront(req, res, arrival);
		const decision = await this.#decision(front, defect);
		if (gone) return;
		if (decision.kind === "proxy") this.#proxy(front, upgrading, decision, startedAt);
		else this.#answer(front, decision, startedAt);
	}

	async #decision(front: Front, defect: notices.Notice | undefined): Promise<Decision> {
		if (defect !== undefined) return this.#local(defect, front.req);
		if (this.#closing) return this.#local(notices.draining, front.req);
		try {
			return await this.#decide(front.info);
		} catch (error) {
			const local = this.#local(notices.internal, front.req);
			this.#log.error({ err: error, requestId: requestIdOf(local) }, "tunnel request failed");
			return local;
		}
	}

	#local(notice: notices.Notice, req: FrontRequest): LocalResponse {
		return respond(notice, randomUUID(), {
			method: req.method ?? "GET",
			upgrade: false,
			header: (name) => joined(req.rawHeaders, name),
		});
	}

	#answer(front: Front, local: LocalResponse, startedAt: number): void {
		this.#totals.local++;
		writeLocal(front, local);
		this.#log.debug(
			{
				requestId: requestIdOf(local),
				method: front.info.method,
				status: local.status,
				durationMs: Math.round(performance.now() - startedAt),
			},
			"tunnel answered",
		);
	}

	#proxy(front: Front, upgrading: Upgrading | undefined, decision: ProxyDecision, startedAt: number): void {
		const exchange = new Exchange({
			front,
			upgrading,
			decision,
			pool: this.#pool,
			limits: this.#limits,
			onEnd: () => this.#ended(exchange, front, decision, startedAt),
		});
		const live = this.#live.get(decision.devboxId) ?? new Set();
		this.#live.set(decision.devboxId, live.add(exchange));
		try {
			exchange.start();
		} catch (error) {
			// Only what node refuses to send: a method or target that is none.
			this.#log.debug({ err: error, requestId: decision.requestId }, "tunnel request cannot be sent");
			writeLocal(front, this.#local(notices.badRequest("The request cannot be passed on."), front.req));
		}
	}

	/** Never the target: query strings carry tokens. */
	#ended(exchange: Exchange, front: Front, decision: ProxyDecision, startedAt: number): void {
		const live = this.#live.get(decision.devboxId);
		live?.delete(exchange);
		if (live?.size === 0) this.#live.delete(decision.devboxId);
		const { upgraded, failure, bytesIn, bytesOut, status } = exchange;
		this.#totals[upgraded ? "upgrades" : "requests"]++;
		this.#totals.bytesIn += bytesIn;
		this.#totals.bytesOut += bytesOut;
		if (failure !== undefined) this.#failures[failure]++;
		this.#log.debug(
			{
				requestId: decision.requestId,
				devboxId: decision.devboxId,
				port: decision.port,
				method: front.info.method,
				status,
				...(failure === undefined ? {} : { failure }),
				durationMs: Math.round(performance.now() - startedAt),
				bytesIn,
				bytesOut,
			},
			"tunnel request",
		);
		if (this.#live.size === 0) this.#onIdle?.();
	}

	async #drain(graceMs: number): Promise<void> {
		if (this.#live.size > 0) {
			await new Promise<void>((resolve) => {
				const timer = setTimeout(resolve, graceMs);
				this.#onIdle = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
		for (const devboxId of [...this.#live.keys()]) this.drop(devboxId);
		this.#pool.close();
	}
}

/** A response for an upgrade that gets an ordinary answer. The connection ends with it: node's parser is off it already. */
function borrowSocket(req: IncomingMessage, socket: Socket): ServerResponse {
	const res = new ServerResponse(req);
	res.shouldKeepAlive = false;
	res.assignSocket(socket);
	socket.on("error", () => {});
	// The server's own relay of this went with its parser; without it a long response stalls.
	socket.on("drain", () => res.emit("drain"));
	res.once("finish", () => {
		socket.resume();
		socket.destroySoon();
	});
	return res;
}

function hasBody(req: IncomingMessage): boolean {
	return req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) !== 0;
}

function requestIdOf(local: LocalResponse): string | undefined {
	return local.headers.find(([name]) => name === "x-runloop-request-id")?.[1];
}
