/** What is measured. Each measurement of a peer is short; the harness alternates between peers and takes medians. */
import { join } from "node:path";
import type { RunningPeer } from "./peers.js";
import { cpuSeconds, memoryBytes, output } from "./process.js";
import { atRate, closeAll, echoes, events, exchange, head, openMany, openWebSockets } from "./raw.js";
import type { Case, Goal } from "./suite.js";
import { ab, wrk } from "./tools.js";
import { MEGABYTES } from "./world.js";

type TunnelCase = Case<RunningPeer>;

const BROWSER = [
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
	"Accept-Encoding: gzip, deflate, br, zstd",
	"Accept-Language: en-GB,en-US;q=0.9,en;q=0.8",
	"Cache-Control: max-age=0",
	"Connection: keep-alive",
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; csrftoken=abcdefghijklmnopqrstuvwxyz012345",
	"Referer: http://bench.localhost/app/dashboard?tab=overview",
	'Sec-Ch-Ua: "Chromium";v="142", "Not_A Brand";v="24"',
	"Sec-Ch-Ua-Mobile: ?0",
	'Sec-Ch-Ua-Platform: "Linux"',
	"Sec-Fetch-Dest: document",
	"Sec-Fetch-Mode: navigate",
	"Sec-Fetch-Site: same-origin",
	"Upgrade-Insecure-Requests: 1",
];

/** A figure as good as this many times nginx's. */
const nginxTimes = (bound: number): readonly Goal[] => [{ of: "gangway", peer: "nginx", bound }];
const FAST: readonly Goal[] = [...nginxTimes(1), { of: "gangway", peer: "caddy", bound: 4 }];

interface Http {
	readonly goals?: readonly Goal[];
	/** Goes to the private tunnel with its token. */
	readonly token?: boolean;
	/** A connection for each request. */
	readonly connect?: boolean;
	readonly path?: string;
	readonly fields?: readonly string[];
	readonly connections?: number;
	readonly secure?: boolean;
	readonly method?: string;
	readonly body?: string;
}

function requests(name: string, http: Http, tool: typeof wrk = wrk): TunnelCase {
	const { goals = [], secure = false, connect = false, token = false, path = "/", connections = 32 } = http;
	return {
		name,
		unit: "req/s",
		moreIsBetter: true,
		goals,
		// It cannot keep a connection to the box for the next client.
		without: connect ? ["floor"] : [],
		measure: async (peer, { dir, privateBox }, seconds) => {
			const url = secure ? `https://127.0.0.1:${peer.tlsPort}${path}` : `http://127.0.0.1:${peer.plainPort}${path}`;
			const fields = [`Host: ${token ? peer.privateHost : peer.host}`, ...(http.fields ?? [])];
			if (token) fields.push(`X-Runloop-Tunnel-Authorization: Bearer ${privateBox.token}`);
			if (connect) fields.push("Connection: close");
			const before = cpuSeconds(peer.pid);
			const { method = "GET", body = "" } = http;
			const result = await tool(dir, { url, connections, seconds, fields, method, body });
			const cpu = cpuSeconds(peer.pid) - before;
			return { value: result.perSecond, cpuMicros: (cpu * 1e6) / result.requests, errors: result.errors };
		},
	};
}

/** Transfers of 100 MB with curl, one after the other on one connection. */
function transfer(name: string, direction: "down" | "up", secure: boolean): TunnelCase {
	return {
		name,
		unit: "MB/s",
		moreIsBetter: true,
		goals: nginxTimes(0.95),
		measure: async (peer, world, seconds) => {
			const base = secure ? `https://127.0.0.1:${peer.tlsPort}` : `http://127.0.0.1:${peer.plainPort}`;
			const [host, path] = direction === "down" ? [peer.host, "/100m"] : [peer.liveHost, "/up"];
			const fields = [`Host: ${host}`, "Expect:"].flatMap((field) => ["-H", field]);
			const file = direction === "down" ? [] : ["--data-binary", `@${join(world.dir, "100m")}`];
			const times = Math.max(1, Math.round(seconds * (secure ? 3 : 6)));
			const each = Array.from({ length: times }, () => ["-o", "/dev/null", `${base}${path}`]).flat();
			const before = cpuSeconds(peer.pid);
			const began = performance.now();
			await output("curl", ["-sfk", "--http1.1", ...fields, ...file, ...each]);
			const taken = (performance.now() - began) / 1000;
			const cpu = cpuSeconds(peer.pid) - before;
			return { value: (times * MEGABYTES) / taken, cpuMicros: (cpu * 1e6) / (times * MEGABYTES), errors: 0 };
		},
	};
}

function memory(name: string, kind: "keep-alive" | "websocket", secure: boolean, most: number): TunnelCase {
	const count = 4000;
	return {
		name,
		unit: "KiB each",
		moreIsBetter: false,
		goals: [{ of: "gangway", bound: most }],
		fresh: true,
		measure: async (peer) => {
			const openSome = async (some: number) => {
				if (kind === "websocket") return await openWebSockets(peer, secure, some);
				const sockets = await openMany(peer, secure, some);
				// One after the other, so that not the boxes' side of the pool is measured.
				for (const socket of sockets) await exchange(socket, head("/", peer.host), "hello");
				return sockets;
			};
			// What is allocated once should not be counted.
			await closeAll(await openSome(200));
			await new Promise((resolve) => setTimeout(resolve, 1000));
			const before = memoryBytes(peer.pid);
			const sockets = await openSome(count);
			// Long enough for whoever collects garbage at rest.
			await new Promise((resolve) => setTimeout(resolve, 12_000));
			const value = (memoryBytes(peer.pid) - before) / count / 1024;
			await closeAll(sockets);
			return { value, cpuMicros: undefined, errors: 0 };
		},
	};
}

const latency: TunnelCase = {
	name: "latency-1000",
	unit: "ms p99",
	moreIsBetter: false,
	goals: nginxTimes(1.2),
	measure: async (peer, world, seconds) => {
		// What a process does in its first thousands of requests says nothing of a daemon that runs for weeks.
		const url = `http://127.0.0.1:${peer.plainPort}/`;
		await wrk(world.dir, { url, connections: 50, seconds: 1, fields: [`Host: ${peer.host}`], method: "GET", body: "" });
		await atRate(peer, 1000, 0.5);
		const before = cpuSeconds(peer.pid);
		const times = await atRate(peer, 1000, seconds * 2);
		const cpu = cpuSeconds(peer.pid) - before;
		const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))]!;
		const more = { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
		return { value: more.p99, cpuMicros: (cpu * 1e6) / times.length, errors: 0, more };
	},
};

const websocket: TunnelCase = {
	name: "websocket-echo",
	unit: "msg/s",
	moreIsBetter: true,
	goals: [],
	measure: async (peer, _world, seconds) => {
		const sockets = await openWebSockets(peer, false, 64);
		const before = cpuSeconds(peer.pid);
		const count = await echoes(sockets, seconds);
		const cpu = cpuSeconds(peer.pid) - before;
		await closeAll(sockets);
		return { value: count / seconds, cpuMicros: (cpu * 1e6) / count, errors: 0 };
	},
};

const EVENT_BYTES = 98 + 6;

const sse: TunnelCase = {
	name: "sse-1000",
	unit: "events/s",
	moreIsBetter: true,
	goals: [],
	measure: async (peer, _world, seconds) => {
		let before = 0;
		const bytes = await events(peer, 1000, seconds, () => {
			before = cpuSeconds(peer.pid);
		});
		const cpu = cpuSeconds(peer.pid) - before;
		const count = bytes / EVENT_BYTES;
		return { value: count / seconds, cpuMicros: (cpu * 1e6) / count, errors: 0 };
	},
};

export const CASES: readonly TunnelCase[] = [
	requests("get", { goals: FAST }),
	requests("get-browser", { fields: BROWSER, goals: FAST }),
	requests("get-token", { token: true, goals: FAST }),
	requests("get-tls", { fields: BROWSER, secure: true, goals: FAST }),
	requests("post-1k", {
		method: "POST",
		body: "x".repeat(1024),
		fields: ["Content-Type: text/plain"],
		goals: nginxTimes(1),
	}),
	requests("get-20k", { path: "/20k", goals: nginxTimes(1) }),
	requests("get-c1", { connections: 1 }),
	requests("get-c256", { connections: 256 }),
	requests("get-c1000", { connections: 1000 }),
	requests("connect", { connect: true, goals: nginxTimes(0.6) }),
	requests("connect-tls", { connect: true, secure: true, goals: nginxTimes(0.6) }),
	requests("connect-tls-full", { connect: true, secure: true }, ab),
	transfer("down-100m", "down", false),
	transfer("up-100m", "up", false),
	transfer("down-100m-tls", "down", true),
	transfer("up-100m-tls", "up", true),
	websocket,
	sse,
	latency,
	memory("memory-keepalive", "keep-alive", false, 8),
	memory("memory-tls", "keep-alive", true, 20),
	memory("memory-websocket", "websocket", false, 12),
];
