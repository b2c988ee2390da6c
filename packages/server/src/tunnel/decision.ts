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
	/** The field's value, several fields joined with ", "; undefined when absent. `name` in lower case. */
	header(name: string): string | undefined;
}

export type Decision = ProxyDecision | LocalResponse;

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
	| "closed";

/** Gangway answers by itself. */
export interface LocalResponse {
	readonly kind: "respond";
	/** For the log: the id that the response shows. */
	readonly requestId?: string;
	readonly status: number;
	readonly headers: readonly (readonly [name: string, value: string])[];
	readonly body: string;
}
