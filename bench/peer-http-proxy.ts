/** http-proxy-3, the maintained line of node-http-proxy. Not a dependency: `npm install --no-save http-proxy-3` to compare with it. */
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";

const [plainPort, tlsPort, upstreamPort, livePort] = process.argv.slice(2, 6).map(Number);
const [upstreamHost = "", certificate = "", key = ""] = process.argv.slice(6);

interface Proxy {
	web(request: http.IncomingMessage, response: http.ServerResponse, options: object): void;
	ws(request: http.IncomingMessage, socket: import("node:stream").Duplex, head: Buffer, options: object): void;
	on(event: "error", listener: () => void): void;
}
const name: string = "http-proxy-3";
const library = (await import(name)) as { createProxyServer(options: object): Proxy };
const agent = new http.Agent({ keepAlive: true, maxSockets: 1024, maxFreeSockets: 1024 });
const proxy = library.createProxyServer({ xfwd: true, agent });
proxy.on("error", () => {});

const target = (request: http.IncomingMessage) => ({
	target: `http://${upstreamHost}:${request.url === "/ws" || request.url === "/up" || request.url === "/events" ? livePort : upstreamPort}`,
});
const handle = (request: http.IncomingMessage, response: http.ServerResponse) =>
	proxy.web(request, response, target(request));
const servers = [
	http.createServer(handle),
	https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, handle),
];
servers.forEach((server, i) => {
	server.keepAliveTimeout = 300_000;
	server.requestTimeout = 0;
	server.on("upgrade", (request, socket, head) => proxy.ws(request, socket, head, target(request)));
	server.listen({ port: [plainPort, tlsPort][i], host: "127.0.0.1", backlog: 4096 });
});
process.once("SIGTERM", () => process.exit(0));
