import { once } from "node:events";
import http from "node:http";
import http2, { type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import net, { type AddressInfo, type Socket } from "node:net";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { TunnelTarget } from "../devboxes/index.js";
import { createDecide, type DecideOptions } from "./decide.js";
import { FakeDirectory, passes, route, target } from "./tunnel.fixture.js";
import { Tunnel, type TunnelOptions } from "./tunnel.js";

/** Helpers of the tunnel's tests: real listeners on 127.0.0.1, closed when the test ends. */

export interface Door {
	readonly tunnel: Tunnel;
	readonly directory: FakeDirectory;
	/** Of the client's side. */
	readonly port: number;
	/** Log lines so far. */
	readonly lines: Record<string, unknown>[];
}

export interface DoorOptions
	extends Partial<Pick<TunnelOptions, "timeouts" | "limits">>,
		Pick<DecideOptions, "limiter" | "trustedProxies" | "loopback" | "holdMs" | "maxWaiters"> {
	readonly http2?: boolean;
	readonly level?: string;
	readonly target?: Partial<TunnelTarget>;
}

/** A tunnel to 127.0.0.1 behind a server as the edge has it. Requests name `{port}-keya.tunnel.test`. */
export async function openDoor(options: DoorOptions = {}): Promise<Door> {
	const { level = "debug", timeouts = {}, limits = {} } = options;
	const directory = new FakeDirectory(target({ address: "127.0.0.1", ...options.target }));
	const lines: Record<string, unknown>[] = [];
	const log = pino({ level }, { write: (line: string) => lines.push(JSON.parse(line)) });
	const tunnel = new Tunnel({ decide: createDecide({ ...options, directory, route, passes }), log, timeouts, limits });
	const port = await listen(options.http2 ? http2Server(tunnel) : http1Server(tunnel));
	onTestFinished(() => tunnel.close({ graceMs: 0 }));
	return { tunnel, directory, port, lines };
}

const client = { secure: false, peerAddress: "127.0.0.1" };

function http1Server(tunnel: Tunnel): net.Server {
	return net.createServer((socket) => tunnel.accept(socket, client));
}

function http2Server(tunnel: Tunnel): http2.Http2Server {
	const server = http2.createServer();
	server.on("stream", (...event: [ServerHttp2Stream, IncomingHttpHeaders, number, string[]?]) => {
		tunnel.stream(event[0], event[1], { ...client, rawHeaders: event[3] ?? [] });
	});
	return server;
}

export async function listen(server: net.Server | http2.Http2Server, port = 0): Promise<number> {
	const sockets = new Set<Socket>();
	server.on("connection", (socket: Socket) => {
		sockets.add(socket);
		socket.once("close", () => sockets.delete(socket));
		socket.on("error", () => {});
	});
	server.listen(port, "127.0.0.1");
	await once(server, "listening");
	onTestFinished(() => {
		server.close();
		for (const socket of sockets) socket.destroy();
	});
	return (server.address() as AddressInfo).port;
}

/** An app in the box. */
export function app(handler: http.RequestListener): Promise<number> {
	return listen(http.createServer(handler));
}

/** A server of bytes, not of HTTP. */
export function rawApp(handler: (socket: Socket) => void): Promise<number> {
	return listen(net.createServer({ allowHalfOpen: true }, handler));
}

/** A port where nothing listens. */
export async function nobody(): Promise<number> {
	const server = net.createServer();
	const port = await listen(server);
	server.close();
	await once(server, "close");
	return port;
}

/** An app that tells what it got, byte for byte where node shows it. */
export function echo(): Promise<number> {
	return app(async (req, res) => {
		const body = await bytes(req);
		res.end(JSON.stringify({ method: req.method, url: req.url, raw: req.rawHeaders, body: body.toString() }));
	});
}

export interface Echoed {
	readonly method: string;
	readonly url: string;
	readonly raw: string[];
	readonly body: string;
}

export async function bytes(stream: AsyncIterable<Buffer>): Promise<Buffer> {
	const chunks: Buffer[] = [];
	for await (const chunk of stream) chunks.push(chunk);
	return Buffer.concat(chunks);
}

export function hostOf(port: number): string {
	return `${port}-keya.tunnel.test`;
}

/** A request through the door, up to the response's head. */
export async function send(
	door: Door,
	port: number,
	options: http.RequestOptions & { body?: string | Buffer } = {},
): Promise<http.IncomingMessage> {
	const { body, headers, ...rest } = options;
	const req = http.request({
		host: "127.0.0.1",
		port: door.port,
		headers: { host: hostOf(port), ...(headers as http.OutgoingHttpHeaders) },
		agent: false,
		...rest,
	});
	req.end(body);
	const [res] = (await once(req, "response")) as [http.IncomingMessage];
	return res;
}

export async function sendForText(...args: Parameters<typeof send>): Promise<string> {
	return (await bytes(await send(...args))).toString();
}

/** Exactly these bytes, and everything that comes back until the connection closes. */
export async function sendRaw(door: Door, text: string): Promise<string> {
	const socket = net.connect(door.port, "127.0.0.1");
	socket.write(text, "latin1");
	return (await bytes(socket)).toString("latin1");
}

/** Resolves at the first true answer, asked after each turn of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

export interface Deferred<T> {
	readonly promise: Promise<T>;
	resolve(this: void, value: T): void;
}

export function deferred<T>(): Deferred<T> {
	let resolve!: (value: T) => void;
	const promise = new Promise<T>((settle) => {
		resolve = settle;
	});
	return { promise, resolve };
}
