/** Clients that come and go as they like: nothing may stay behind, and nobody else may have to wait. */
import { readdirSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { expect, it } from "vitest";
import { resetConnection } from "./reset.js";
import { answering, connect, type Peer, rawServer, startEngine } from "./testing.fixture.js";

const CONNECTIONS = 2000;
const AT_ONCE = 200;
/** How often and how long to look whether all is gone, in ms. */
const POLL = { interval: 5, timeout: 30_000 };

function descriptors(): number {
	return readdirSync("/proc/self/fd").length;
}

function collected(): NodeJS.MemoryUsage {
	globalThis.gc?.();
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
		const { port, engine } = await startEngine(box.port, { timeouts: { halfClosed: 100, pooled: 50, tick: 20 } });
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
		const one = async () => {
			const peer = await connect(port);
			peer.write(requests[random(requests.length)]!);
			for (let turns = random(4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
			leave[random(leave.length)]!(peer);
			for (let turns = random(20); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
			peer.socket.destroy();
			await peer.gone();
		};
		const round = async (count: number) => {
			let left = count;
			const worker = async () => {
				while (left-- > 0) await one();
			};
			await Promise.all(Array.from({ length: AT_ONCE }, worker));
			engine.dropDevbox("dbx_1");
			await expect.poll(() => engine.stats().clients + engine.stats().upstreams, POLL).toBe(0);
			for (const { socket } of box.peers.splice(0)) socket.destroy();
		};
		// The first round fills what is kept for reuse.
		await round(500);
		const before = { descriptors: descriptors(), memory: collected() };
		const delay = monitorEventLoopDelay({ resolution: 5 });
		delay.enable();
		await round(CONNECTIONS);
		delay.disable();
		const settled = () => {
			// Connections that the listener's queue gives out late.
			for (const { socket } of box.peers.splice(0)) socket.destroy();
			return descriptors();
		};
		await expect.poll(settled, POLL).toBeLessThanOrEqual(before.descriptors + 2);
		const after = { descriptors: descriptors(), memory: collected() };
		console.info(
			`soak: event-loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms (peers included), descriptors ${before.descriptors} → ${after.descriptors}, ` +
				`heap ${(before.memory.heapUsed / 1e6).toFixed(1)} → ${(after.memory.heapUsed / 1e6).toFixed(1)} MB, buffers ${(before.memory.arrayBuffers / 1e6).toFixed(1)} → ${(after.memory.arrayBuffers / 1e6).toFixed(1)} MB`,
		);
		expect(engine.stats()).toEqual({ clients: 0, http2Requests: 0, upstreams: 0, idleUpstreams: 0, upgrades: 0 });
		// The kept slabs are bounded (12 MiB); anything per connection would show as much more.
		expect(after.memory.arrayBuffers).toBeLessThan(32 * 1024 * 1024);
	},
);
