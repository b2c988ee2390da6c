import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { type Connection, ignore } from "./connections.js";
import type { Client, Request, Response } from "./handlers.js";
import type { Router } from "./router.js";
import { headWithoutUpgrade } from "./upgrade.js";

/** Node's default of 16 KiB is too little for what some applications keep in cookies. */
const MAX_HEADER_BYTES = 65_536;
/** More than the 64 KiB of the protocol's default, which caps an upload at 64 KiB per round trip. */
const STREAM_WINDOW = 1_048_576;
const SESSION_WINDOW = 4_194_304;
const MAX_STREAMS = 256;
/** First byte of a TLS record that begins a handshake. */
const TLS_HANDSHAKE = 0x16;

export interface HttpFrontOptions {
	readonly secure: boolean;
	readonly router: Router;
	/** A request's head must be complete after so long. */
	readonly headersMs: number;
	/** An idle connection is closed after so long. */
	readonly keepAliveMs: number;
}

/** The HTTP side of one port: gets sockets whose protocol is known and gives requests to the router. */
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
		connection.onDrain = () => {
			if (connection.requests === 0) socket.destroySoon();
		};
		this.#connections.set(socket, connection);
		this.#http1.emit("connection", socket);
	}

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
			maxHeaderSize: MAX_HEADER_BYTES,
			headersTimeout: headersMs,
			// Bodies may take as long as they like: uploads through tunnels do.
			requestTimeout: 0,
			keepAliveTimeout: keepAliveMs,
			connectionsCheckingInterval: Math.min(headersMs, 5_000),
		});
		server.on("request", (request, response) => this.#request1(request, response));
		server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket as Socket, head));
		server.on("clientError", (error: ClientError, socket) => this.#clientError(error, socket as Socket));
		// Node starts to enforce headersTimeout at this event, and sockets are given to this server without it ever listening.
		server.emit("listening");
		return server;
	}

	#createHttp2(): Http2Server {
		const server = createHttp2Server({
			settings: { initialWindowSize: STREAM_WINDOW, maxConcurrentStreams: MAX_STREAMS, enableConnectProtocol: false },
		});
		server.on("request", (request, response) => {
			const { session } = request.stream;
			const connection = session && this.#connections.get(session);
			if (connection) this.#request(connection, request, response);
			else response.stream.destroy();
		});
		// Broken peers; the session is destroyed by node:http2.
		server.on("sessionError", ignore);
		return server;
	}

	#beginSession(connection: Connection, session: ServerHttp2Session): void {
		this.#connections.set(session, connection);
		connection.onDrain = () => session.close();
		session.once("connect", () => session.setLocalWindowSize(SESSION_WINDOW));
		session.setTimeout(this.#options.keepAliveMs, () => {
			if (connection.requests === 0) session.close();
		});
	}

	#request1(request: IncomingMessage, response: ServerResponse): void {
		const connection = this.#connections.get(request.socket)!;
		if (connection.draining) response.setHeader("connection", "close");
		this.#request(connection, request, response);
	}

	#request(connection: Connection, request: Request, response: Response): void {
		connection.requests++;
		response.on("close", () => {
			connection.requests--;
			if (connection.draining) connection.onDrain();
		});
		this.#options.router.request(request, response, this.#client(connection));
	}

	#upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
		const connection = this.#connections.get(socket)!;
		connection.kind = "upgrade";
		const { onDrain } = connection;
		connection.onDrain = ignore;
		if (this.#options.router.upgrade(request, socket, head, this.#client(connection))) return;
		connection.onDrain = onDrain;
		connection.kind = "http1";
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
