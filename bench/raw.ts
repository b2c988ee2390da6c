/** Raw connections for what wrk cannot do: WebSockets, event streams, a fixed rate, many idle connections. */
import * as net from "node:net";
import * as tls from "node:tls";
import type { RunningPeer } from "./peers.js";

export function open(peer: RunningPeer, secure: boolean): Promise<net.Socket> {
	return new Promise((resolve, reject) => {
		const socket = secure
			? tls.connect({ port: peer.tlsPort, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] })
			: net.connect(peer.plainPort, "127.0.0.1");
		socket.setNoDelay(true);
		socket.once(secure ? "secureConnect" : "connect", () => {
			socket.off("error", reject);
			socket.on("error", () => {});
			resolve(socket);
		});
		socket.once("error", reject);
	});
}

/** Many at once, but not so many that a listener's queue overflows. */
export async function openMany(peer: RunningPeer, secure: boolean, count: number): Promise<net.Socket[]> {
	const sockets: net.Socket[] = [];
	while (sockets.length < count) {
		const more = Math.min(100, count - sockets.length);
		sockets.push(...(await Promise.all(Array.from({ length: more }, () => open(peer, secure)))));
	}
	return sockets;
}

export function head(path: string, host: string, more: readonly string[] = []): string {
	return `GET ${path} HTTP/1.1\r\n${[`Host: ${host}`, ...more].join("\r\n")}\r\n\r\n`;
}

/** Sends and waits until `text` has come back. */
export function exchange(socket: net.Socket, request: string, text: string): Promise<void> {
	return new Promise((resolve, reject) => {
		let got = "";
		const gone = () => reject(new Error(`closed after ${JSON.stringify(got.slice(0, 300))}`));
		const take = (chunk: Buffer) => {
			got += chunk.toString("latin1");
			if (!got.includes(text)) return;
			socket.off("data", take);
			socket.off("close", gone);
			resolve();
		};
		socket.on("data", take);
		socket.once("close", gone);
		socket.write(request);
	});
}

const WEBSOCKET = [
	"Connection: Upgrade",
	"Upgrade: websocket",
	"Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

export async function openWebSockets(peer: RunningPeer, secure: boolean, count: number): Promise<net.Socket[]> {
	const sockets = await openMany(peer, secure, count);
	await Promise.all(sockets.map((socket) => exchange(socket, head("/ws", peer.liveHost, WEBSOCKET), "\r\n\r\n")));
	return sockets;
}

export async function closeAll(sockets: readonly net.Socket[]): Promise<void> {
	await Promise.all(
		sockets.map(
			(socket) =>
				new Promise<void>((resolve) => {
					socket.once("close", () => resolve());
					socket.destroy();
				}),
		),
	);
}

/** Echoes of 64 bytes, one under way per connection, for so long. Returns how many came back. */
export async function echoes(sockets: readonly net.Socket[], seconds: number): Promise<number> {
	const frame = Buffer.alloc(70, 7);
	frame[0] = 0x82;
	frame[1] = 0x80 | 64;
	let count = 0;
	let over = false;
	for (const socket of sockets) {
		let got = 0;
		socket.removeAllListeners("data");
		socket.on("data", (chunk: Buffer) => {
			got += chunk.length;
			if (got < 66) return;
			got -= 66;
			count++;
			if (!over) socket.write(frame);
		});
		socket.write(frame);
	}
	await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
	over = true;
	return count;
}

/** Subscribes `count` clients and counts the bytes of events that they get in so long once all get some. */
export async function events(peer: RunningPeer, count: number, seconds: number, started: () => void): Promise<number> {
	const sockets = await openMany(peer, false, count);
	await Promise.all(sockets.map((socket) => exchange(socket, head("/events", peer.liveHost), "data: ")));
	let bytes = 0;
	for (const socket of sockets) {
		socket.on("data", (chunk: Buffer) => {
			bytes += chunk.length;
		});
	}
	// The box lets the streams begin together, a little after the last has joined.
	await new Promise((resolve) => setTimeout(resolve, 500));
	bytes = 0;
	started();
	await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
	const result = bytes;
	await closeAll(sockets);
	return result;
}

/**
 * Requests at a fixed rate whether answered or not, timed from when they were due, not from when they could be sent: a
 * peer that stalls is charged for all that had to wait. Milliseconds, sorted.
 */
export async function atRate(peer: RunningPeer, perSecond: number, seconds: number): Promise<number[]> {
	const sockets = await openMany(peer, false, 50);
	const request = head("/", peer.host);
	const total = perSecond * seconds;
	const times: number[] = [];
	const idle = [...sockets];
	const began = performance.now();
	let sent = 0;
	const send = (socket: net.Socket) => {
		const due = began + (sent++ / perSecond) * 1000;
		const take = (chunk: Buffer) => {
			if (!chunk.includes("hello")) return;
			socket.off("data", take);
			times.push(performance.now() - due);
			idle.push(socket);
		};
		socket.on("data", take);
		socket.write(request);
	};
	await new Promise<void>((resolve, reject) => {
		for (const socket of sockets) socket.once("close", () => reject(new Error("a connection was closed")));
		// A timer would be late by up to a millisecond, and nobody could tell whose that is.
		const turn = () => {
			const soFar = Math.min(total, ((performance.now() - began) / 1000) * perSecond);
			while (sent < soFar && idle.length > 0) send(idle.pop()!);
			if (times.length < total) setImmediate(turn);
			else resolve();
		};
		turn();
	});
	await closeAll(sockets);
	return times.sort((a, b) => a - b);
}
