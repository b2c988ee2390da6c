/** http-proxy-3, the maintained line of node-http-proxy. */
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { createProxyServer } from "http-proxy-3";

const [plainPort, tlsPort, upstreamPort, livePort] = process.argv.slice(2, 6).map(Number);
const [upstreamHost = "", certificate = "", key = ""] = process.argv.slice(6);

const agent = new http.Agent({ keepAlive: true, maxSockets: 1024, maxFreeSockets: 1024 });
const box = createProxyServer({ target: `http://${upstreamHost}:${upstreamPort}`, xfwd: true, agent });
/** Its streams and WebSockets occupy their connections, so that they are not to be limited by the agent. */
const live = createProxyServer({ target: `http://${upstreamHost}:${livePort}`, xfwd: true });
for (const proxy of [box, live]) proxy.on("error", () => {});

const LIVE = new Set(["/ws", "/up", "/events"]);
const handle = (request: http.IncomingMessage, response: http.ServerResponse) =>
	(LIVE.has(request.url ?? "") ? live : box).web(request, response);
const servers = [
	http.createServer(handle),
	https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, handle),
];
servers.forEach((server, i) => {
	server.keepAliveTimeout = 300_000;
	server.requestTimeout = 0;
	server.on("upgrade", (request, socket, head) => live.ws(request, socket as Socket, head));
	server.listen({ port: [plainPort, tlsPort][i], host: "127.0.0.1", backlog: 4096 });
});
process.once("SIGTERM", () => process.exit(0));
