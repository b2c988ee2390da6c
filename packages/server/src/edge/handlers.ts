import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** What the edge knows of a request's connection. */
export interface Client {
	/** The client used TLS. */
	readonly secure: boolean;
	/** The peer of the TCP connection; IPv4 in its plain form. */
	readonly peerAddress: string;
}

/** Where the edge hands things to. A request's `url` is origin-form or `*`, and it has exactly one authority. */
export interface EdgeHandlers {
	/** API and dashboard. */
	api(request: Request, response: Response, client: Client): unknown;
	readonly tunnel: {
		request(request: Request, response: Response, client: Client): unknown;
		/** HTTP/1.1 only. The socket is the handler's from here on; it has no listeners but for errors. */
		upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, client: Client): unknown;
	};
	/** SNI was `<label>.ssh.<d>`. The socket may be half-closed, nothing was read from it, and it is the handler's. Must not throw. */
	passthrough(label: string, socket: TLSSocket): unknown;
	/** SNI was `ssh.<d>`; without it such connections are closed. Must not throw. */
	gateway?(socket: TLSSocket): unknown;
}
