import type { Duplex } from "node:stream";

/**
 * The seam between the tunnel's behaviour (who may pass, to which box, with which headers) and its transport (sockets
 * and bytes). The transport parses a request head, asks `Decide` once per request and does what it says.
 */
export type Decide = (request: RequestInfo) => Decision | Promise<Decision>;

export interface RequestInfo {
	readonly method: string;
	/** Origin-form: path and query as received. Never logged with its query. */
	readonly target: string;
	/** `Host` or `:authority`, as received. */
	readonly authority: string;
	/** The peer of the TCP connection. */
	readonly peerAddress: string;
	/** The client used TLS. */
	readonly secure: boolean;
	/** The request asks for an upgrade (`Connection: upgrade` with `Upgrade`). */
	readonly upgrade: boolean;
	/**
	 * The field's value, several fields joined with ", " (`cookie` with "; "); undefined when absent. `name` in lower case.
	 * Can be asked until the request is decided, not later: not when it fails, nor when its body was read.
	 */
	header(name: string): string | undefined;
	/** Calls back once if the client goes away while the decision is awaited, at once if it has. For decisions that take long. */
	onGone(listener: () => void): void;
}

export type Decision = ProxyDecision | LocalResponse | BodyRequest;

/** Forward to the box. */
export interface ProxyDecision {
	readonly kind: "proxy";
	readonly devboxId: string;
	/** IPv4 address and port of the upstream; never anything but the box itself. */
	readonly address: string;
	readonly port: number;
	/** Told to the client in `x-runloop-request-id`, in place of the app's own; empty: not told. */
	readonly requestId: string;
	/** Fields the upstream must not see, lower case: the credential that was used, routing headers. Hop-by-hop fields are the transport's own business. */
	readonly remove: readonly string[];
	/** Fields that replace whatever the client sent under the same name. */
	readonly set: readonly (readonly [name: string, value: string])[];
	/** The app must not set this cookie: `Set-Cookie` fields that name it are not forwarded. */
	readonly guardedCookie?: string | undefined;
	/** What let the client in, where that can be revoked by itself: see `Tunnel.dropGrant`. */
	readonly grant?: string | undefined;
	/**
	 * Connects to the upstream in place of TCP to `address` and `port`; still pooled under these. The stream may be written to at
	 * once, half-closes, and emits "connect" once or "error" with a `code` as node:net has it. The chunks that it brings are the
	 * reader's, who changes them.
	 */
	readonly dial?: (() => Duplex) | undefined;
	/** Called exactly once, when the exchange is over in whatever way. */
	readonly ended?: (() => void) | undefined;
	/** Called when the box has taken the connection and while bytes flow, either way; undefined when traffic does not count as activity. */
	readonly activity: (() => void) | undefined;
	/** The local response for a failure that the client can still be told about. */
	failed(failure: UpstreamFailure): LocalResponse;
}

export type UpstreamFailure =
	| "refused"
	| "unreachable"
	| "connect_timeout"
	| "response_timeout"
	| "bad_response"
	| "closed"
	/** The devbox has as many connections as it may have. */
	| "busy";

/** Gangway answers by itself. */
export interface LocalResponse {
	readonly kind: "respond";
	/** For the log: the id that the response shows. */
	readonly requestId?: string;
	readonly status: number;
	readonly headers: readonly (readonly [name: string, value: string])[];
	readonly body: string;
}

/** Gangway answers by itself, but has to read the request's body first. */
export interface BodyRequest {
	readonly kind: "read";
	/** Bytes; a longer body is 413. */
	readonly limit: number;
	answer(body: Buffer): LocalResponse | Promise<LocalResponse>;
}
