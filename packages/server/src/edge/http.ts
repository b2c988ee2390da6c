import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
	createServer as createHttp2Server,
	type Http2Server,
	Http2ServerRequest,
	Http2ServerResponse,
	type IncomingHttpHeaders,
	type ServerHttp2Session,
	type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { authorityOf } from "./authority.js";
import { type Connection, ignore } from "./connections.js";
import type { Client, TunnelDoor } from "./handlers.js";
import { type Addressed, headerOf, type Router } from "./router.js";
import { headWithoutUpgrade } from "./upgrade.js";

/** More than the 64 KiB of the protocol's default, which caps an upload at 64 KiB per round trip. */
const STREAM_WINDOW = 1_048_576;
const SESSION_WINDOW = 4_194_304;
const MAX_STREAMS = 256;
const PROXY_FIELDS = ["x-forwarded-for", "forwarded", "via", "x-real-ip"];
/** First byte of a TLS record that begins a handshake. */
const TLS_HANDSHAKE = 0x16;

export interface HttpFrontOptions {
	readonly secure: boolean;
	readonly router: Router;
	readonly tunnel: TunnelDoor;
	/** A request's head must be complete after so long. */
	readonly headersMs: number;
	/** An idle connection is closed after so long. */
	readonly keepAliveMs: number;
}

/**
 * The HTTP side of one port: gets sockets whose protocol is known. The tunnel's requests are the tunnel's, over HTTP/1.1
 * with their connection; all others are parsed by node and go to the router.
 */
export class HttpFront {
	readonly #options: HttpFrontOptions;
	readonly #http1: Server;
	readonly #http2: Http2Server;
	/** By socket (HTTP/1.1) or session (HTTP/2). */
	readonly #connections = new WeakMap<object, Connection>();

	constructor(options: HttpFrontOptions) {
		this.#options = Object.freeze({ ...options });
		this.#http1 = this.#createHttp1();
		this.#http2 = this.#createHttp2();
	}

	/** Takes over a fresh HTTP/1.1 connection: nothing was read from the socket, or it was put back. */
	acceptHttp1(connection: Connection, socket: Socket): void {
		connection.kind = "http1";
		if (this.#options.router.redirects(this.#options.secure)) {
			this.#serve(connection, socket);
			return;
		}
		// The tunnel ends its connections itself when it closes.
		connection.onDrain = ignore;
		this.#options.tunnel.accept(socket, {
			...this.#client(connection),
			carrier: connection.carrier,
			ours: this.#isTunnel,
			handOver: () => this.#serve(connection, socket),
		});
	}

	/** Gives a connection to node:http. */
	#serve(connection: Connection, socket: Socket): void {
		connection.onDrain = () => {
			if (connection.requests === 0) socket.destroySoon();
		};
		this.#connections.set(socket, connection);
		this.#http1.emit("connection", socket);
	}

	readonly #isTunnel = (request: Addressed): boolean => this.#options.router.owner(request) === "tunnel";

	/** Takes over a fresh HTTP/2 connection, its preface not read or put back. */
	acceptHttp2(connection: Connection, socket: Socket): void {
		connection.kind = "http2";
		// A session is over when either side ends; half-open it would stay for ever.
		socket.allowHalfOpen = false;
		const begin = (session: ServerHttp2Session) => this.#beginSession(connection, session);
		this.#http2.on("session", begin);
		this.#http2.emit("connection", socket);
		this.#http2.off("session", begin);
	}

	close(): void {
		// Clears the timer that enforces headersTimeout; the server itself never listened.
		this.#http1.close(ignore);
	}

	#createHttp1(): Server {
		const { headersMs, keepAliveMs } = this.#options;
		const server = createServer({
			headersTimeout: headersMs,
			// Bodies may take as long as they like.
			requestTimeout: 0,
			keepAliveTimeout: keepAliveMs,
			connectionsCheckingInterval: Math.min(headersMs, 5_000),
		});
		server.on("request", (request, response) => this.#request1(request, response));
		server.on("upgrade", (request, socket, head) => this.#ignoreUpgrade(request, socket as Socket, head));
		server.on("clientError", (error: ClientError, socket) => this.#clientError(error, socket as Socket));
		// Node starts to enforce headersTimeout at this event, and sockets are given to this server without it ever listening.
		server.emit("listening");
		return server;
	}

	#createHttp2(): Http2Server {
		const server = createHttp2Server({
			settings: { initialWindowSize: STREAM_WINDOW, maxConcurrentStreams: MAX_STREAMS, enableConnectProtocol: false },
		});
		// Not "request": its listener would wrap every stream, the tunnel's too. Node's types do not know the fourth argument.
		server.on("stream", (...event: [ServerHttp2Stream, IncomingHttpHeaders, number, string[]?]) => {
			this.#stream(event[0], event[1], event[3] ?? []);
		});
		// Broken peers; the session is destroyed by node:http2.
		server.on("sessionError", ignore);
		return server;
	}

	#beginSession(connection: Connection, session: ServerHttp2Session): void {
		this.#connections.set(session, connection);
		const close = session.close.bind(session);
		connection.onDrain = () => {
			if (connection.requests === 0) {
				setImmediate(() => {
					close();
					session.destroy();
				});
			} else if (!session.destroyed) session.goaway();
		};
		// Node calls this at a client's GOAWAY. It uses freed memory when a request arrives at a session that is closed but
		// not destroyed (nodejs/node#64113), so none is ever left in between.
		session.close = () => void setImmediate(() => connection.drain());
		session.once("connect", () => session.setLocalWindowSize(SESSION_WINDOW));
		this.#limitSilence(connection, session);
	}

	/**
	 * Ends a silent session: at once without requests, else if its client does not answer either. After some errors of the
	 * protocol Node reads no more, not even the end of the connection, and tells nobody.
	 */
	#limitSilence(connection: Connection, session: ServerHttp2Session): void {
		const { keepAliveMs } = this.#options;
		session.setTimeout(keepAliveMs, () => {
			if (connection.requests === 0) {
				session.close();
				return;
			}
			const lost = setTimeout(() => session.destroy(), keepAliveMs);
			session.ping((error) => {
				clearTimeout(lost);
				if (!error) this.#limitSilence(connection, session);
			});
		});
	}

	#request1(request: IncomingMessage, response: ServerResponse): void {
		const connection = this.#connections.get(request.socket)!;
		if (connection.draining || cameThroughProxy(request)) response.setHeader("connection", "close");
		this.#begin(connection, response);
		this.#options.router.request(request, response, this.#client(connection));
	}

	#stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
		// A client may break a stream before it is told of here, and nobody else listens yet.
		stream.on("error", ignore);
		const connection = stream.session && this.#connections.get(stream.session);
		if (!connection) {
			stream.destroy();
			return;
		}
		this.#begin(connection, stream);
		const client = this.#client(connection);
		const authority = authorityOf(headers, rawHeaders);
		const { router, tunnel, secure } = this.#options;
		if (
			authority !== undefined &&
			headers[":method"] !== "CONNECT" &&
			!router.redirects(secure) &&
			this.#isTunnel({ authority, header: headerOf(headers) })
		) {
			tunnel.stream(stream, headers, { ...client, rawHeaders });
			return;
		}
		this.#request2(stream, headers, rawHeaders, client);
	}

	/** What node:http2 does with a stream before it tells of a request. */
	#request2(
		stream: ServerHttp2Stream,
		headers: IncomingHttpHeaders,
		rawHeaders: readonly string[],
		client: Client,
	): void {
		const request = new Http2ServerRequest(stream, headers, {}, rawHeaders);
		const response = new Http2ServerResponse(stream);
		const { expect } = headers;
		if (headers[":method"] === "CONNECT" || (expect !== undefined && expect !== "100-continue")) {
			response.writeHead(expect === undefined ? 405 : 417);
			response.end();
			return;
		}
		if (expect !== undefined) response.writeContinue();
		this.#options.router.request(request, response, client);
	}

	/** A request is under way until `closing` closes. */
	#begin(connection: Connection, closing: ServerResponse | ServerHttp2Stream): void {
		connection.requests++;
		closing.on("close", () => {
			connection.requests--;
			if (connection.draining) connection.onDrain();
		});
	}

	/** Nothing but the tunnel speaks other protocols. */
	#ignoreUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
		socket.unshift(Buffer.concat([headWithoutUpgrade(request), head]));
		this.#http1.emit("connection", socket);
	}

	#client(connection: Connection): Client {
		return { secure: this.#options.secure, peerAddress: connection.peerAddress };
	}

	#clientError(error: ClientError, socket: Socket): void {
		const connection = this.#connections.get(socket);
		const busy = connection === undefined || connection.requests > 0;
		if (busy || !socket.writable || error.code === "ECONNRESET" || error.rawPacket?.[0] === TLS_HANDSHAKE) {
			socket.destroy();
			return;
		}
		socket.write(badRequest(error.code));
		socket.destroySoon();
	}
}

/**
 * A proxy in front sends requests for all names over the connections of one pool, and node:http cannot give one back to
 * the tunnel: so the API answers once on it. The other way round works, the tunnel hands over at any request.
 */
function cameThroughProxy({ headers }: IncomingMessage): boolean {
	return PROXY_FIELDS.some((name) => headers[name] !== undefined);
}

type ClientError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer };

function badRequest(code: string | undefined): string {
	const [status, message] =
		code === "HPE_HEADER_OVERFLOW"
			? ["431 Request Header Fields Too Large", "the request's header is too large"]
			: code === "ERR_HTTP_REQUEST_TIMEOUT"
				? ["408 Request Timeout", "the request took too long"]
				: ["400 Bad Request", "this is not a valid HTTP request"];
	const body = JSON.stringify({ message });
	return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}
