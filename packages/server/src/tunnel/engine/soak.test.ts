/** Clients that come and go as they like: nothing may stay behind, and nobody else may have to wait. */
import { once } from "node:events";
import { readdirSync } from "node:fs";
import type * as net from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { resetConnection } from "./reset.js";
import { answering, cleanup, connect, Peer, rawServer, startEngine } from "./testing.fixture.js";
import { dial } from "./transport.fixture.js";

const CONNECTIONS = 2000;
const AT_ONCE = 200;
/** Bytes of heap per connection that was there: a connection itself takes several times as much. */
const MOST_KEPT = 512;
/** How often and how long to look whether all is gone, in ms. */
const POLL = { interval: 5, timeout: 30_000 };

function descriptors(): number {
	return readdirSync("/proc/self/fd").length;
}

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

function collected(): NodeJS.MemoryUsage {
	collectGarbage();
	return process.memoryUsage();
}

it.skipIf(process.platform !== "linux")(
	`${CONNECTIONS} connections opened and dropped at random leave nothing behind`,
	async () => {
		const big = `HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n${"x".repeat(300_000)}`;
		const box = await rawServer(
			answering((head) => {
				if (head.includes("/big")) return big;
				if (head.includes("/never")) return undefined;
				if (head.includes("/raw")) return "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nraw";
				return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
			}),
		);
		const { port, engine, records } = await startEngine(box.port, {
			timeouts: { halfClosed: 100, pooled: 50, tick: 20 },
		});
		let state = 1;
		const random = (below: number) => {
			state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
			return state % below;
		};
		const requests = [
			"",
			"GET / HTT",
			"GET / HTTP/1.1\r\nHost: t\r\n\r\n",
			"GET /big HTTP/1.1\r\nHost: t\r\n\r\n",
			"GET /never HTTP/1.1\r\nHost: t\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\npart",
			"GET /raw HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nraw",
			"BAD\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(5),
		];
		const leave = [
			(peer: Peer) => peer.socket.destroy(),
			(peer: Peer) => resetConnection(peer.socket),
			(peer: Peer) => peer.socket.end(),
		];
		const opened = new Set<net.Socket>();
		cleanup(() => {
			for (const socket of opened) socket.destroy();
		});
		/** Like `connect`, but remembered only while it is open. */
		const open = async () => {
			const { socket, standing } = dial(port);
			opened.add(socket.once("close", () => opened.delete(socket)));
			const peer = new Peer(socket);
			await once(socket, standing);
			return peer;
		};
		const one = async () => {
			const peer = await open();
			peer.write(requests[random(requests.length)]!);
			for (let turns = random(4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
			leave[random(leave.length)]!(peer);
			for (let turns = random(20); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
			peer.socket.destroy();
			await peer.gone();
		};
		const churn = async (count: number) => {
			let left = count;
			const worker = async () => {
				while (left-- > 0) await one();
			};
			await Promise.all(Array.from({ length: AT_ONCE }, worker));
		};
		const settle = async () => {
			engine.dropDevbox("dbx_1");
			await expect.poll(() => engine.stats().clients + engine.stats().upstreams, POLL).toBe(0);
			for (const { socket } of box.peers.splice(0)) socket.destroy();
			records.length = 0;
		};
		/** Somebody who does nothing special meanwhile; resolves to the number of answers. */
		const bystander = async (stop: { asked: boolean }) => {
			const peer = await connect(port);
			let answers = 0;
			while (!stop.asked) {
				peer.chunks.length = 0;
				await peer.write("GET / HTTP/1.1\r\nHost: other\r\n\r\n").sees("hello\r\n0\r\n\r\n");
				answers++;
			}
			peer.socket.destroy();
			return answers;
		};
		// The first round fills what is kept for reuse.
		await churn(500);
		await settle();
		const before = { descriptors: descriptors(), memory: collected() };
		const delay = monitorEventLoopDelay({ resolution: 5 });
		delay.enable();
		const stop = { asked: false };
		const answers = bystander(stop);
		await churn(CONNECTIONS);
		delay.disable();
		stop.asked = true;
		expect(await answers).toBeGreaterThan(0);
		await settle();
		const settled = () => {
			// Connections that the listener's queue gives out late.
			for (const { socket } of box.peers.splice(0)) socket.destroy();
			return descriptors();
		};
		await expect.poll(settled, POLL).toBeLessThanOrEqual(before.descriptors + 2);
		const grown = () => collected().heapUsed - before.memory.heapUsed;
		await expect.poll(grown, POLL).toBeLessThan(CONNECTIONS * MOST_KEPT);
		const after = { descriptors: descriptors(), memory: collected() };
		console.info(
			`soak: event-loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms (peers included), descriptors ${before.descriptors} → ${after.descriptors}, ` +
				`heap ${(before.memory.heapUsed / 1e6).toFixed(1)} → ${(after.memory.heapUsed / 1e6).toFixed(1)} MB, buffers ${(before.memory.arrayBuffers / 1e6).toFixed(1)} → ${(after.memory.arrayBuffers / 1e6).toFixed(1)} MB`,
		);
		expect(engine.stats()).toEqual({ clients: 0, http2Requests: 0, upstreams: 0, idleUpstreams: 0, upgrades: 0 });
		// Slabs are kept, 12 MiB at most.
		expect(after.memory.arrayBuffers - before.memory.arrayBuffers).toBeLessThan(12 * 1024 * 1024);
	},
);
