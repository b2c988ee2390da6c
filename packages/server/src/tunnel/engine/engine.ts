/** The door of the engine: takes connections and HTTP/2 requests, carries them to devboxes. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type * as net from "node:net";
import { Counts, clientKey } from "../../limits/index.js";
import { Client } from "./client.js";
import type { ClientOptions } from "./connection.js";
import { Core } from "./core.js";
import { Http2Client } from "./http2.js";
import type { Http2Options } from "./http2-request.js";
import type { EngineOptions, Excess } from "./options.js";

export interface EngineStats {
	/** Open HTTP/1.1 connections of clients. */
	readonly clients: number;
	/** HTTP/2 requests under way. */
	readonly http2Requests: number;
	/** Connections to devboxes; how many of them carry nothing, and how many were upgraded. */
	readonly upstreams: number;
	readonly idleUpstreams: number;
	readonly upgrades: number;
}

export class Engine {
	private readonly core: Core;
	private readonly clients = new Set<Client>();
	/** Those that are one too many, until they have been told. */
	private readonly refused = new Set<Client>();
	private readonly streams = new Set<Http2Client>();
	private readonly perAddress = new Counts();
	private closed: Promise<void> | undefined;
	private emptied: (() => void) | undefined;

	constructor(options: EngineOptions) {
		this.core = new Core(options);
	}

	/** Takes an HTTP/1.1 connection, plain or TLS, in whatever state its bytes are. */
	accept(socket: net.Socket, options: ClientOptions): void {
		const address = options.peerAddress ?? socket.remoteAddress ?? "";
		const excess = this.excess(address);
		if (this.core.closing || socket.destroyed || (excess !== undefined && this.refused.size >= MOST_REFUSED)) {
			// Without a listener an error of a socket that is already dead would end the process.
			socket.on("error", () => {});
			socket.destroy();
			return;
		}
		socket.setNoDelay(true);
		const client: Client = new Client(this.core, socket, options, address, excess, () => this.clientLeft(client));
		if (excess === undefined) this.count(client);
		else this.refused.add(client);
		if (options.head !== undefined && options.head.length > 0) client.arrived(options.head);
		socket.resume();
	}

	/** Is one more connection too many? */
	private excess(address: string): Excess | undefined {
		const { clients, clientsPerAddress } = this.core.limits;
		if (clients > 0 && this.clients.size >= clients) return "clients";
		if (clientsPerAddress === 0 || this.perAddress.of(clientKey(address)) < clientsPerAddress) return undefined;
		return this.core.exempt(address) ? undefined : "clientsPerAddress";
	}

	private count(client: Client): void {
		this.clients.add(client);
		if (this.core.limits.clientsPerAddress > 0) this.perAddress.add(clientKey(client.peerAddress));
	}

	/** Takes one request of an HTTP/2 connection: what node:http2 emits as `stream`. */
	acceptHttp2Stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, options: Http2Options): void {
		if (this.core.closing) {
			stream.on("error", () => {});
			// Not at once: Node may be in the middle of reading this stream, and nghttp2 would lose it under its feet.
			setImmediate(() => stream.close(REFUSED_STREAM));
			return;
		}
		let over = false;
		const client = new Http2Client(this.core, stream, headers, options, (gone) => {
			over = true;
			this.streams.delete(gone);
			this.checkEmpty();
		});
		if (!over) this.streams.add(client);
	}

	/** Breaks off all requests and upgrades of a devbox and forgets its connections. */
	dropDevbox(devboxId: string): void {
		this.core.pool.dropDevbox(devboxId);
	}

	/** Breaks off the requests and upgrades of a devbox that were let in with `grant`. */
	dropGrant(devboxId: string, grant: string): void {
		this.core.pool.dropGrant(devboxId, grant);
	}

	/** Refuses new work, lets requests finish for `graceMs`, then breaks them off. Twice is fine. */
	close(options: { readonly graceMs: number }): Promise<void> {
		this.closed ??= this.drain(options.graceMs);
		return this.closed;
	}

	stats(): EngineStats {
		return {
			clients: this.clients.size,
			http2Requests: this.streams.size,
			upstreams: this.core.pool.connections,
			idleUpstreams: this.core.pool.idleConnections,
			upgrades: this.core.pool.upgrades,
		};
	}

	private async drain(graceMs: number): Promise<void> {
		this.core.closing = true;
		this.core.pool.dropIdle();
		for (const client of [...this.clients]) client.stop();
		if (this.clients.size + this.streams.size > 0 && graceMs > 0) {
			const empty = new Promise<void>((resolve) => {
				this.emptied = resolve;
			});
			let timer: NodeJS.Timeout | undefined;
			const grace = new Promise<void>((resolve) => {
				timer = setTimeout(resolve, graceMs);
			});
			await Promise.race([empty, grace]);
			clearTimeout(timer);
		}
		for (const client of [...this.clients, ...this.refused]) client.destroy();
		for (const client of [...this.streams]) client.destroy();
		this.core.pool.dropAll();
		this.core.wheel.close();
	}

	private clientLeft(client: Client): void {
		if (this.refused.delete(client)) return;
		this.clients.delete(client);
		if (this.core.limits.clientsPerAddress > 0) this.perAddress.remove(clientKey(client.peerAddress));
		this.checkEmpty();
	}

	private checkEmpty(): void {
		if (this.clients.size + this.streams.size === 0) this.emptied?.();
	}
}

const REFUSED_STREAM = 7;
/** Connections that wait to be told that they are too many; beyond, they are closed without a word. */
const MOST_REFUSED = 256;
