import type { Decide, LocalResponse, RequestInfo } from "../decision.js";

/** All in milliseconds; 0 switches a limit off. Kept by one coarse wheel: a time may be exceeded by `tick`. */
export interface Timeouts {
	/** From the first byte of a request (or the start of the connection) to the end of its head. Then 408 and close. */
	readonly head: number;
	/** A connection between requests. */
	readonly keepAlive: number;
	/** No byte of a body in either direction, once the head of the request was read. Then the request is given up. */
	readonly idleBody: number;
	/** Until the box accepts a connection. Then `connect_timeout`. */
	readonly connect: number;
	/** From the end of the request to the first byte of the response. Then `response_timeout`. Off: long polls are common. */
	readonly firstByte: number;
	/** A pooled connection to a box that carries nothing; a `Keep-Alive: timeout` of the box shortens it. */
	readonly pooled: number;
	/** No byte in either direction of an upgraded connection. Off: TCP keepalive finds dead peers. */
	readonly idleUpgrade: number;
	/**
	 * No byte, once the client has half-closed its connection. A client that is gone looks the same until something is
	 * written to it, so this bounds how long a box that never answers keeps a request alive that nobody waits for.
	 */
	readonly halfClosed: number;
	/** How long a closing connection still reads what the client had sent, so that it sees the response and not a reset. */
	readonly linger: number;
	/** How fine the wheel is. */
	readonly tick: number;
}

export interface Limits {
	/** Bytes of a head, start line included. More is 431 (from a box: 502). */
	readonly headBytes: number;
	/** Fields of a head. At most 1024. More is 431 (from a box: 502). */
	readonly headFields: number;
	/** Client connections at one time; the first request of one more is answered as `tooMany` says. 0: no limit. */
	readonly clients: number;
	/** The same for one address (of IPv6, one /64), unless it is `exempt`. 0: no limit. */
	readonly clientsPerAddress: number;
	/** Connections to one devbox at one time, upgrades included; a request that needs one more fails as `busy`. 0: no limit. */
	readonly upstreamsPerDevbox: number;
	/** Idle connections kept per port of a devbox. */
	readonly pooledPerTarget: number;
	/** Bytes of later requests that are read while one is being answered; then the socket is paused. */
	readonly pipelinedBytes: number;
}

export const DEFAULT_TIMEOUTS: Timeouts = Object.freeze({
	head: 30_000,
	keepAlive: 75_000,
	idleBody: 300_000,
	connect: 10_000,
	firstByte: 0,
	pooled: 15_000,
	idleUpgrade: 0,
	halfClosed: 30_000,
	linger: 2_000,
	tick: 500,
});

export const DEFAULT_LIMITS: Limits = Object.freeze({
	headBytes: 16 * 1024,
	headFields: 100,
	clients: 0,
	clientsPerAddress: 0,
	upstreamsPerDevbox: 0,
	pooledPerTarget: 1024,
	pipelinedBytes: 64 * 1024,
});

/** One per request that `decide` was asked about, when it is over. */
export interface RequestRecord {
	readonly devboxId: string | undefined;
	readonly requestId: string | undefined;
	readonly method: string;
	readonly authority: string;
	/** What the client was told; 0 when it was gone before. */
	readonly status: number;
	/** Of bodies and of upgraded connections, without heads and framing. */
	readonly bytesFromClient: number;
	readonly bytesToClient: number;
	readonly durationMs: number;
	readonly upgraded: boolean;
	/** Gangway answered, not the box. */
	readonly local: boolean;
	/** `aborted`: the client went away or the response broke off after its head. */
	readonly outcome: "completed" | "aborted";
}

/** Why a connection is turned away: there are as many as there may be, or of its address. */
export type Excess = "clients" | "clientsPerAddress";

export interface EngineOptions {
	/** Asked once per request, after its head was found sound. Throwing or rejecting is a 500. */
	readonly decide: Decide;
	/**
	 * The response to a request that cannot be handled: 400, 408, 413, 421, 431, 500, 501 or 505. `request` where it was
	 * understood and is still at hand. Default: the status in plain text.
	 */
	readonly refuse?: (status: number, request?: RequestInfo) => LocalResponse;
	/** The response to the first request of a connection that is one too many. Default: 503 and 429 in plain text. */
	readonly tooMany?: (excess: Excess, request: RequestInfo) => LocalResponse;
	/** Peers that `clientsPerAddress` is not meant for: proxies, which speak for many. Default: none. */
	readonly exempt?: (peerAddress: string) => boolean;
	/** Accounting. */
	readonly finished?: (record: RequestRecord) => void;
	/** Something that should not happen did; for the log. */
	readonly unexpected?: (error: unknown) => void;
	readonly timeouts?: Partial<Timeouts>;
	readonly limits?: Partial<Limits>;
}
