import type { Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import type { Logger } from "pino";
import type { CertificateSource, KeyPair } from "./certificates/index.js";
import { type Connection, type ConnectionKind, Connections, ignore } from "./connections.js";
import type { EdgeHandlers } from "./handlers.js";
import { HttpFront } from "./http.js";
import { Listeners } from "./listeners.js";
import { type EdgeNames, parseAuthority } from "./names.js";
import { detectProtocol } from "./preface.js";
import { Router } from "./router.js";

export interface EdgeOptions {
	readonly domain: string;
	readonly apiHosts: readonly string[];
	/** Addresses to listen on. */
	readonly bind: readonly string[];
	/** 0 is any free port. */
	readonly tlsPort: number;
	readonly httpPort: number;
	readonly httpMode: "serve" | "redirect";
	readonly certificates: CertificateSource;
	readonly handlers: EdgeHandlers;
	readonly log: Logger;
	readonly limits?: Partial<EdgeLimits>;
}

export interface EdgeLimits {
	/** A TLS handshake, or the first bytes of a plain connection, must come within so long. */
	readonly handshakeMs: number;
	/** So long for a request's head. */
	readonly headersMs: number;
	/** So long may an HTTP connection be idle. */
	readonly keepAliveMs: number;
	/** Connections beyond this are closed at once. */
	readonly maxConnections: number;
}

const DEFAULT_LIMITS: EdgeLimits = {
	handshakeMs: 10_000,
	headersMs: 30_000,
	keepAliveMs: 75_000,
	maxConnections: 10_000,
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

/** The TLS port and the plain HTTP port. */
export class Edge {
	readonly #options: EdgeOptions;
	readonly #names: EdgeNames;
	readonly #limits: EdgeLimits;
	readonly #connections = new Connections();
	readonly #tlsListeners = new Listeners((socket) => this.#accept(socket, this.#acceptTls));
	readonly #plainListeners = new Listeners((socket) => this.#accept(socket, this.#acceptPlain));
	readonly #tls: HttpFront;
	readonly #plain: HttpFront;
	#context: SecureContext;
	#ports = { tlsPort: 0, httpPort: 0 };
	#refused = 0;
	#closing: Promise<void> | undefined;

	constructor(options: EdgeOptions) {
		this.#options = Object.freeze({ ...options });
		this.#limits = Object.freeze({ ...DEFAULT_LIMITS, ...options.limits });
		const lower = (name: string) => name.toLowerCase().replace(/\.$/, "");
		this.#names = Object.freeze({ domain: lower(options.domain), apiHosts: options.apiHosts.map(lower) });
		const router = new Router({
			names: this.#names,
			handlers: options.handlers,
			redirect: options.httpMode === "redirect",
			tlsPort: () => this.#ports.tlsPort,
			log: options.log,
		});
		this.#tls = new HttpFront({ secure: true, router, ...this.#limits });
		this.#plain = new HttpFront({ secure: false, router, ...this.#limits });
		this.#context = createContext(options.certificates.current);
		options.certificates.onChange((pair) => {
			this.#context = createContext(pair);
		});
	}

	/**
	 * Opens both ports and returns the real ones.
	 * @throws {ConfigError} when one is not to be had; nothing listens then.
	 */
	async listen(): Promise<{ readonly tlsPort: number; readonly httpPort: number }> {
		const { bind, tlsPort, httpPort } = this.#options;
		try {
			const tls = await this.#tlsListeners.listen(bind, tlsPort, "GANGWAY_TLS_PORT");
			this.#ports = { tlsPort: tls, httpPort: await this.#plainListeners.listen(bind, httpPort, "GANGWAY_HTTP_PORT") };
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
		const closed = [this.#tlsListeners.close(), this.#plainListeners.close()];
		await this.#connections.drain(graceMs);
		await Promise.all(closed);
		this.#tls.close();
		this.#plain.close();
	}

	#accept(socket: Socket, next: (connection: Connection, socket: Socket) => void): void {
		if (this.#closing || this.#connections.size >= this.#limits.maxConnections) {
			this.#refused++;
			socket.destroy();
			return;
		}
		next.call(this, this.#connections.add(socket), socket);
	}

	#acceptPlain(connection: Connection, socket: Socket): void {
		const opened = this.#awaitOpening(socket);
		detectProtocol(socket, (protocol) => {
			opened();
			if (protocol === "http2") this.#plain.acceptHttp2(connection, socket);
			else this.#plain.acceptHttp1(connection, socket);
		});
	}

	#acceptTls(connection: Connection, raw: Socket): void {
		const socket = new TLSSocket(raw, {
			isServer: true,
			secureContext: this.#context,
			ALPNProtocols: ["h2", "http/1.1"],
		});
		connection.stream = socket;
		socket.on("error", () => socket.destroy());
		const opened = this.#awaitOpening(socket);
		// Gone in the middle of the handshake.
		const end = () => socket.destroy();
		raw.on("end", end);
		socket.once("secure", () => {
			raw.off("end", end);
			opened();
			this.#secured(connection, socket);
		});
	}

	/** SNI only tells SSH from HTTP. */
	#secured(connection: Connection, socket: TLSSocket): void {
		const { handlers } = this.#options;
		const name = parseAuthority(String(socket.servername || ""), this.#names);
		if (name.kind === "ssh") {
			connection.kind = "passthrough";
			connection.onDrain = ignore;
			handlers.passthrough(name.label, socket);
		} else if (name.kind === "gateway") {
			connection.kind = "gateway";
			connection.onDrain = ignore;
			if (handlers.gateway) handlers.gateway(socket);
			else socket.destroySoon();
		} else if (socket.alpnProtocol === "h2") {
			this.#tls.acceptHttp2(connection, socket);
		} else {
			this.#tls.acceptHttp1(connection, socket);
		}
	}

	/** Ends a connection that does not get to its first request in time; call the result when it has. */
	#awaitOpening(socket: Socket): () => void {
		const late = () => socket.destroy();
		socket.setTimeout(this.#limits.handshakeMs, late);
		return () => {
			socket.off("timeout", late);
			socket.setTimeout(0);
		};
	}
}

function createContext({ cert, key }: KeyPair): SecureContext {
	return createSecureContext({
		cert,
		key,
		minVersion: "TLSv1.2",
		ciphers: CIPHERS,
		honorCipherOrder: false,
		sessionIdContext: "gangway",
	});
}
