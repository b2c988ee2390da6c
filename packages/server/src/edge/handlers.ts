import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { RequestInfo } from "../tunnel/index.js";

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** What the edge knows of a request's connection. */
export interface Client {
	/** The client used TLS. */
	readonly secure: boolean;
	/** The peer of the TCP connection; IPv4 in its plain form. */
	readonly peerAddress: string;
}

/** Where the edge hands things to. */
export interface EdgeHandlers {
	/** API and dashboard. The request's `url` is origin-form or `*`, and it has exactly one authority. */
	api(request: Request, response: Response, client: Client): unknown;
	readonly tunnel: TunnelDoor;
	/** SNI was `<label>.ssh.<d>`. The socket may be half-closed, nothing was read from it, and it is the handler's. Must not throw. */
	passthrough(label: string, socket: TLSSocket): unknown;
	/** Came to the SSH port, or with the SNI `ssh.<d>`. Nothing was read from it, and it is the handler's. Must not throw. */
	gateway(socket: Socket, client: Client): unknown;
}

/** Neither must throw. */
export interface TunnelDoor {
	/**
	 * A fresh HTTP/1.1 connection, whosever it is: the tunnel reads its first request, and gives the connection to
	 * `handOver` if `ours` says no, as if nothing had been read. A connection that it keeps is its own to end.
	 */
	accept(
		socket: Socket,
		options: Client & {
			/** The TCP socket: `socket`, or what is under it. */
			readonly carrier: Socket;
			ours(this: void, request: RequestInfo): boolean;
			handOver(this: void, socket: Socket): void;
		},
	): void;
	/** A tunnel's request over HTTP/2. */
	stream(
		stream: ServerHttp2Stream,
		headers: IncomingHttpHeaders,
		options: Client & { readonly rawHeaders: readonly string[] },
	): void;
}
