/** Raw peers on loopback: what tests see is the bytes that really went over the wire. */
import * as net from "node:net";
import { afterEach } from "vitest";
import type { LocalResponse, ProxyDecision, RequestInfo, UpstreamFailure } from "../decision.js";
import type { ClientOptions } from "./connection.js";
import { Engine } from "./engine.js";
import type { EngineOptions, RequestRecord } from "./options.js";
import { clientServer, dial, isSecure } from "./transport.fixture.js";

const cleanups: (() => Promise<void> | void)[] = [];

/** Runs after the present test, last registered first. */
export function cleanup(work: () => Promise<void> | void): void {
	cleanups.push(work);
}

afterEach(async () => {
	for (const work of cleanups.splice(0).reverse()) await work();
});

/** One end of a connection, with everything it has received. */
export class Peer {
	readonly chunks: Buffer[] = [];
	ended = false;
	closed = false;
	reset = false;
	private length = 0;
	private wake: (() => void)[] = [];

	constructor(readonly socket: net.Socket) {
		socket.on("data", (chunk) => {
			this.chunks.push(chunk);
			this.length += chunk.length;
			this.stir();
		});
		socket.on("end", () => {
			this.ended = true;
			this.stir();
		});
		socket.on("error", (error: NodeJS.ErrnoException) => {
			if (error.code === "ECONNRESET") this.reset = true;
		});
		socket.on("close", () => {
			this.closed = true;
			this.stir();
		});
	}

	get received(): string {
		return Buffer.concat(this.chunks).toString("latin1");
	}

	get receivedBytes(): number {
		return this.length;
	}

	write(text: string | Buffer): this {
		if (typeof text === "string") this.socket.write(text, "latin1");
		else this.socket.write(text);
		return this;
	}

	end(text?: string): this {
		if (text === undefined) this.socket.end();
		else this.socket.end(text, "latin1");
		return this;
	}

	/** Waits until `ready` holds; looks again whenever something arrives. */
	async when(what: string, ready: () => boolean): Promise<void> {
		const late = setTimeout(() => {
			this.failure = new Error(`waited in vain for ${what}; received ${JSON.stringify(this.received.slice(0, 2000))}`);
			this.stir();
		}, 10_000);
		try {
			while (!ready()) {
				if (this.failure !== undefined) throw this.failure;
				if (this.closed && !ready()) {
					throw new Error(`closed before ${what}; received ${JSON.stringify(this.received.slice(0, 2000))}`);
				}
				await new Promise<void>((resolve) => this.wake.push(resolve));
			}
		} finally {
			clearTimeout(late);
		}
	}

	private failure: Error | undefined;

	/** Waits for this text to have been received, and returns all that was. */
	async sees(text: string): Promise<string> {
		await this.when(JSON.stringify(text), () => this.received.includes(text));
		return this.received;
	}

	/** Waits for the end of what the other side sends, however it ends. */
	async finished(): Promise<string> {
		await this.when("the end", () => this.ended || this.closed);
		return this.received;
	}

	async gone(): Promise<void> {
		await this.when("the close", () => this.closed);
	}

	private stir(): void {
		for (const resolve of this.wake.splice(0)) resolve();
	}
}

/** A server that gives each connection to a script. */
export class RawServer {
	readonly peers: Peer[] = [];
	private wake: (() => void)[] = [];
	readonly server: net.Server;

	constructor(private readonly script: (peer: Peer, index: number) => void = () => {}) {
		this.server = net.createServer({ allowHalfOpen: true }, (socket) => {
			const peer = new Peer(socket);
			this.peers.push(peer);
			this.script(peer, this.peers.length - 1);
			for (const resolve of this.wake.splice(0)) resolve();
		});
	}

	async listen(port = 0): Promise<this> {
		await new Promise<void>((resolve, reject) => {
			this.server.once("error", reject);
			this.server.listen(port, "127.0.0.1", resolve);
		});
		return this;
	}

	get port(): number {
		return (this.server.address() as net.AddressInfo).port;
	}

	async peer(index: number): Promise<Peer> {
		while (this.peers[index] === undefined) await new Promise<void>((resolve) => this.wake.push(resolve));
		return this.peers[index];
	}

	async close(): Promise<void> {
		for (const { socket } of this.peers) socket.destroy();
		if (this.server.listening) await new Promise<void>((resolve) => this.server.close(() => resolve()));
	}
}

/** A server whose connections follow `script`; closed after the test. */
export async function rawServer(script?: (peer: Peer, index: number) => void): Promise<RawServer> {
	const server = await new RawServer(script).listen();
	cleanup(() => server.close());
	return server;
}

/** Answers every request head that arrives with `response`, on one connection as often as asked. */
export function answering(response: string | ((head: string, peer: Peer) => string | undefined)): (peer: Peer) => void {
	return (peer) => {
		let seen = 0;
		peer.socket.on("data", () => {
			for (;;) {
				const end = peer.received.indexOf("\r\n\r\n", seen);
				if (end < 0) return;
				const head = peer.received.slice(seen, end + 4);
				seen = end + 4;
				const text = typeof response === "string" ? response : response(head, peer);
				if (text !== undefined && peer.socket.writable) peer.write(text);
			}
		});
	};
}

export async function connect(port: number): Promise<Peer> {
	const { socket, standing } = dial(port);
	const peer = new Peer(socket);
	cleanup(() => {
		socket.destroy();
	});
	await new Promise<void>((resolve, reject) => socket.once(standing, resolve).once("error", reject));
	return peer;
}

/** Sends `request` to `port`, and returns all that comes back until the other side ends. */
export async function ask(port: number, request: string | Buffer): Promise<string> {
	const peer = await connect(port);
	return await peer.write(request).finished();
}

export function localResponse(status: number, body: string): LocalResponse {
	return { kind: "respond", status, headers: [["Content-Type", "text/plain"]], body };
}

export function proxyTo(port: number, more: Partial<ProxyDecision> = {}): ProxyDecision {
	return {
		kind: "proxy",
		devboxId: "dbx_1",
		address: "127.0.0.1",
		port,
		requestId: "",
		remove: [],
		set: [],
		activity: undefined,
		failed: (failure: UpstreamFailure) => localResponse(502, `failed: ${failure}`),
		...more,
	};
}

export interface TestEngine {
	readonly engine: Engine;
	readonly port: number;
	readonly records: RequestRecord[];
	readonly unexpected: unknown[];
	readonly server: net.Server;
}

/** An engine behind a listener that sends everything to `port`. */
export async function startEngine(
	port: number | ((request: RequestInfo) => ReturnType<EngineOptions["decide"]>),
	options: Partial<EngineOptions> = {},
	clients: Partial<ClientOptions> = {},
): Promise<TestEngine> {
	const records: RequestRecord[] = [];
	const unexpected: unknown[] = [];
	const decide = typeof port === "number" ? () => proxyTo(port) : port;
	const engine = new Engine({
		decide,
		finished: (record) => records.push(record),
		unexpected: (error) => unexpected.push(error),
		...options,
	});
	const sockets = new Set<net.Socket>();
	const server = clientServer((socket, carrier) => {
		sockets.add(socket.once("close", () => sockets.delete(socket)));
		engine.accept(socket, { secure: isSecure(), carrier, ...clients });
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	cleanup(async () => {
		await engine.close({ graceMs: 0 });
		for (const socket of sockets) socket.destroy();
		await new Promise<void>((resolve) => server.close(() => resolve()));
	});
	return { engine, port: (server.address() as net.AddressInfo).port, records, unexpected, server };
}

/** Waits until a number has stopped to change: back-pressure has no event of its own, it is that nothing moves any more. */
export async function stalled(value: () => number): Promise<void> {
	let last = -1;
	for (let same = 0; same < 50; ) {
		await new Promise((resolve) => setTimeout(resolve, 2));
		same = value() === last ? same + 1 : 0;
		last = value();
	}
}
