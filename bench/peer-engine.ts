/** The tunnel engine alone: what the daemon does around it (routing, credentials) is stood in for by the cheapest decision. */
import { readFileSync } from "node:fs";
import * as net from "node:net";
import * as tls from "node:tls";
import type { ProxyDecision, RequestInfo } from "../packages/server/src/tunnel/decision.js";
import { Engine } from "../packages/server/src/tunnel/engine/index.js";

const [plainPort, tlsPort, upstreamPort, livePort] = process.argv.slice(2, 6).map(Number);
const [upstreamHost = "", certificate = "", key = ""] = process.argv.slice(6);

let requests = 0;
let bytes = 0;
const REMOVE = ["x-runloop-tunnel-authorization"];
const failed: ProxyDecision["failed"] = (failure) => ({ kind: "respond", status: 502, headers: [], body: failure });

const LIVE = new Set(["/ws", "/up", "/events"]);

function decide(request: RequestInfo): ProxyDecision {
	const live = LIVE.has(request.target);
	const requestId = `req_${(requests++).toString(36).padStart(26, "0")}`;
	return {
		kind: "proxy",
		devboxId: "dbx_bench",
		address: upstreamHost,
		port: (live ? livePort : upstreamPort) ?? 0,
		requestId,
		remove: REMOVE,
		set: [
			["x-runloop-request-id", requestId],
			["x-forwarded-for", request.peerAddress],
			["x-real-ip", request.peerAddress],
			["x-forwarded-proto", request.secure ? "https" : "http"],
		],
		activity: undefined,
		failed,
	};
}

const engine = new Engine({
	decide,
	finished: (record) => {
		bytes += record.bytesToClient;
	},
	timeouts: { pooled: 300_000, keepAlive: 300_000 },
});

const plain = net.createServer((socket) => engine.accept(socket, { secure: false }));
plain.listen({ port: plainPort, host: "127.0.0.1", backlog: 4096 });

const credentials = { cert: readFileSync(certificate), key: readFileSync(key), ALPNProtocols: ["http/1.1"] };
const secure = tls.createServer(credentials, (socket) => engine.accept(socket, { secure: true }));
secure.on("tlsClientError", () => {});
secure.listen({ port: tlsPort, host: "127.0.0.1", backlog: 4096 });

process.once("SIGTERM", () => process.exit(bytes < 0 ? 1 : 0));
