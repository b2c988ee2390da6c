import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import type { Logger } from "pino";
import type { CertificateSource, KeyPair } from "./certificates/index.js";
import { type Connection, type ConnectionKind, Connections, ignore } from "./connections.js";
import type { EdgeHandlers } from "./handlers.js";
import { HttpFront } from "./http.js";
import { Listeners } from "./listeners.js";
import { type Names, plainAddress } from "./names.js";
import { detectProtocol } from "./preface.js";
import { Router } from "./router.js";

export interface EdgeOptions {
	readonly names: Names;
	/** Addresses to listen on. */
	readonly bind: readonly string[];
	/** 0 is any free port. */
	readonly tlsPort: number;
	readonly httpPort: number;
	readonly sshPort: number;
	readonly httpMode: "serve" | "redirect";
	readonly certificates: CertificateSource;
	readonly handlers: EdgeHandlers;
	readonly log: Logger;
	/** Peers that `limits.maxConnectionsPerAddress` is not meant for: trusted proxies. Default: none. */
	readonly exempt?: (peerAddress: string) => boolean;
	readonly limits?: Partial<EdgeLimits>;
}

export interface EdgeLimits {
	/** A TLS handshake, or the first bytes of a plain connection, must come within so long. */
	readonly handshakeMs: number;
	/** So long for a request's head; where the tunnel reads it, the tunnel's own limit counts. */
	readonly headersMs: number;
	/** So long may an HTTP connection be idle; the same holds. */
	readonly keepAliveMs: number;
	/** Connections beyond this are closed at once. */
	readonly maxConnections: number;
	/**
	 * The same for one address, whatever is spoken: without it, one peer could take all of the above. Above the tunnel's own
	 * limit, which answers 429 where this can only hang up.
	 */
	readonly maxConnectionsPerAddress: number;
}

const DEFAULT_LIMITS: EdgeLimits = {
	handshakeMs: 10_000,
	headersMs: 30_000,
	keepAliveMs: 75_000,
	maxConnections: 10_000,
	maxConnectionsPerAddress: 2_048,
};

/** Mozilla's "intermediate" profile without finite-field Diffie-Hellman; TLS 1.3 has suites of its own. */
const CIPHERS = [
	"TLS_AES_128_GCM_SHA256",
	"TLS_AES_256_GCM_SHA384",
	"TLS_CHACHA20_POLY1305_SHA256",
	"ECDHE-ECDSA-AES128-GCM-SHA256",
	"ECDHE-RSA-AES128-GCM-SHA256",
	"ECDHE-ECDSA-AES256-GCM-SHA384",
	"ECDHE-RSA-AES256-GCM-SHA384",
	"ECDHE-ECDSA-CHACHA20-POLY1305",
	"ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/** What the ports are, once they are open. */
export interface Ports {
	readonly tlsPort: number;
	readonly httpPort: number;
	readonly sshPort: number;
}

/** The TLS port, the plain HTTP port and the SSH port. */
export class Edge {
	readonly #options: EdgeOptions;
	readonly #limits: EdgeLimits;
	readonly #connections = new Connections();
	readonly #tlsListeners = new Listeners((socket) => this.#accept(socket, this.#acceptTls));
	readonly #plainListeners = new Listeners((socket) => this.#accept(socket, this.#acceptPlain));
	readonly #sshListeners = new Listeners((socket) => this.#accept(socket, this.#acceptSsh));
	readonly #tls: HttpFront;
	readonly #plain: HttpFront;
	readonly #handshaker: Server;
	/** TLS connections before their first secure byte, by four-tuple. */
	readonly #handshakes = new Map<string, Connection>();
	#ports: Ports = { tlsPort: 0, httpPort: 0, sshPort: 0 };
	#refused = 0;
	#closing: Promise<void> | undefined;

	constructor(options: EdgeOptions) {
		this.#options = Object.freeze({ ...options });
		this.#limits = Object.freeze({ ...DEFAULT_LIMITS, ...options.limits });
		const router = new Router({
			names: options.names,
			api: options.handlers.api,
			redirect: options.httpMode === "redirect",
			tlsPort: () => this.#ports.tlsPort,
			log: options.log,
		});
		const { tunnel } = options.handlers;
		this.#tls = new HttpFront({ secure: true, router, tunnel, ...this.#limits });
		this.#plain = new HttpFront({ secure: false, router, tunnel, ...this.#limits });
		this.#handshaker = this.#createHandshaker();
	}

	/**
	 * Opens the ports and returns the real ones.
	 * @throws {ConfigError} when one is not to be had; nothing listens then.
	 */
	async listen(): Promise<Ports> {
		const { bind, tlsPort, httpPort, sshPort } = this.#options;
		try {
			this.#ports = {
				tlsPort: await this.#tlsListeners.listen(bind, tlsPort, "tls_port"),
				sshPort: await this.#sshListeners.listen(bind, sshPort, "ssh_port"),
				// Last: it redirects to the others.
				httpPort: await this.#plainListeners.listen(bind, httpPort, "http_port"),
			};
		} catch (error) {
			await this.close({ graceMs: 0 });
			throw error;
		}
		return this.#ports;
	}

	/** Open connections by kind, for metrics; `opening` ones are in a handshake or have said nothing yet. */
	connections(): Record<ConnectionKind, number> {
		return this.#connections.count();
	}

	/** Connections that were closed because there were too many. */
	get refused(): number {
		return this.#refused;
	}

	/** Stops accepting, lets what is open finish for so long, then ends it. */
	close({ graceMs }: { readonly graceMs: number }): Promise<void> {
		this.#closing ??= this.#close(graceMs);
		return this.#closing;
	}

	async #close(graceMs: number): Promise<void> {
		const closed = [this.#tlsListeners, this.#plainListeners, this.#sshListeners].map((listeners) => listeners.close());
		await this.#connections.drain(graceMs);
		await Promise.all(closed);
		this.#tls.close();
		this.#plain.close();
	}

	#accept(socket: Socket, next: (connection: Connection, socket: Socket) => void): void {
		if (this.#closing || this.#isFull(plainAddress(socket.remoteAddress))) {
			this.#refused++;
			socket.destroy();
			return;
		}
		next.call(this, this.#connections.add(socket), socket);
	}

	#isFull(peerAddress: string): boolean {
		const { maxConnections, maxConnectionsPerAddress } = this.#limits;
		if (this.#connections.size >= maxConnections) return true;
		if (this.#connections.of(peerAddress) < maxConnectionsPerAddress) return false;
		return this.#options.exempt?.(peerAddress) !== true;
	}

	#acceptPlain(connection: Connection, socket: Socket): void {
		const late = () => socket.destroy();
		socket.setTimeout(this.#limits.handshakeMs, late);
		detectProtocol(socket, (protocol) => {
			socket.off("timeout", late);
			socket.setTimeout(0);
			if (protocol === "http2") this.#plain.acceptHttp2(connection, socket);
			else this.#plain.acceptHttp1(connection, socket);
		});
	}

	#acceptSsh(connection: Connection, socket: Socket): void {
		this.#toGateway(connection, socket, false);
	}

	#acceptTls(connection: Connection, socket: Socket): void {
		const id = fourTuple(socket);
		this.#handshakes.set(id, connection);
		socket.once("close", () => {
			// A later connection may have the same four-tuple.
			if (this.#handshakes.get(id) === connection) this.#handshakes.delete(id);
		});
		// A peer that ends in the middle of a handshake is gone; half-closing is for afterwards.
		socket.allowHalfOpen = false;
		this.#handshaker.emit("connection", socket);
	}

	/** Does the handshakes of sockets that the listeners accepted; does not listen itself. */
	#createHandshaker(): Server {
		const server = createServer({
			...contextOptions(this.#options.certificates.current),
			ALPNProtocols: ["h2", "http/1.1"],
			handshakeTimeout: this.#limits.handshakeMs,
		});
		server.on("secureConnection", (socket) => {
			socket.on("error", () => socket.destroy());
			const id = fourTuple(socket);
			const connection = this.#handshakes.get(id);
			// A peer that is gone already has no address any more.
			if (!connection) return socket.destroy();
			this.#handshakes.delete(id);
			connection.stream = socket;
			socket.allowHalfOpen = true;
			this.#secured(connection, socket);
		});
		server.on("tlsClientError", (_error, socket) => socket.destroy());
		this.#options.certificates.onChange((pair) => server.setSecureContext(contextOptions(pair)));
		return server;
	}

	/** SNI only tells SSH from HTTP. */
	#secured(connection: Connection, socket: TLSSocket): void {
		const { handlers, names } = this.#options;
		const name = names.parse(String(socket.servername || ""));
		if (name.kind === "ssh") {
			connection.kind = "passthrough";
			connection.onDrain = ignore;
			handlers.passthrough(name.label, socket);
		} else if (name.kind === "gateway") {
			this.#toGateway(connection, socket, true);
		} else if (socket.alpnProtocol === "h2") {
			this.#tls.acceptHttp2(connection, socket);
		} else {
			this.#tls.acceptHttp1(connection, socket);
		}
	}

	#toGateway(connection: Connection, socket: Socket, secure: boolean): void {
		connection.kind = "gateway";
		connection.onDrain = ignore;
		this.#options.handlers.gateway(socket, { secure, peerAddress: connection.peerAddress });
	}
}

/** What a TCP socket and the TLS socket made around it have in common. */
function fourTuple({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
	return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function contextOptions({ cert, key }: KeyPair): SecureContextOptions {
	return { cert, key, minVersion: "TLSv1.2", ciphers: CIPHERS, honorCipherOrder: false };
}
