/** node:http in front, undici behind: how most would build it in Node. */
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { pipeline } from "node:stream";
import { Pool } from "undici";

const [plainPort, tlsPort, upstreamPort, livePort] = process.argv.slice(2, 6).map(Number);
const [upstreamHost = "", certificate = "", key = ""] = process.argv.slice(6);
const box = new Pool(`http://${upstreamHost}:${upstreamPort}`, {
	connections: 1024,
	keepAliveTimeout: 60_000,
	pipelining: 1,
});
const live = new Pool(`http://${upstreamHost}:${livePort}`, { connections: 4096, headersTimeout: 0, bodyTimeout: 0 });
const HOP = new Set([
	"connection",
	"keep-alive",
	"transfer-encoding",
	"te",
	"trailer",
	"upgrade",
	"x-runloop-tunnel-authorization",
]);

function handle(request: http.IncomingMessage, response: http.ServerResponse): void {
	const headers: string[] = [];
	const raw = request.rawHeaders;
	for (let i = 0; i < raw.length; i += 2) {
		const name = raw[i]!;
		if (!HOP.has(name.toLowerCase()) && name.toLowerCase() !== "content-length") headers.push(name, raw[i + 1]!);
	}
	const address = request.socket.remoteAddress ?? "";
	headers.push("x-forwarded-for", address, "x-real-ip", address, "x-request-id", "req_0", "x-forwarded-proto", "http");
	const length = request.headers["content-length"];
	if (length !== undefined) headers.push("content-length", length);
	const body = length !== undefined || request.headers["transfer-encoding"] !== undefined ? request : null;
	const path = request.url ?? "/";
	(path === "/events" || path === "/up" ? live : box).stream(
		{ path, method: (request.method ?? "GET") as "GET", headers, body, opaque: response },
		({ statusCode, headers: got }) => {
			for (const name of Object.keys(got)) if (HOP.has(name)) delete got[name];
			response.writeHead(statusCode, got as http.OutgoingHttpHeaders);
			return response;
		},
		(error) => {
			if (error !== null) response.destroy();
		},
	);
}

/** A WebSocket: the head is sent on by hand, the rest is piped. */
function upgrade(request: http.IncomingMessage, socket: import("node:stream").Duplex, head: Buffer): void {
	const onward = http.request({ host: upstreamHost, port: livePort, path: request.url, headers: request.headers });
	onward.on("upgrade", (response, box_, first) => {
		const fields = response.rawHeaders.map((value, i) => (i % 2 === 0 ? `${value}: ` : `${value}\r\n`)).join("");
		socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`);
		if (first.length > 0) socket.write(first);
		if (head.length > 0) box_.write(head);
		pipeline(socket, box_, () => {});
		pipeline(box_, socket, () => {});
	});
	onward.on("error", () => socket.destroy());
	onward.end();
}

const servers = [
	http.createServer(handle),
	https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, handle),
];
servers.forEach((server, i) => {
	server.keepAliveTimeout = 300_000;
	server.requestTimeout = 0;
	server.on("upgrade", upgrade);
	server.listen({ port: [plainPort, tlsPort][i], host: "127.0.0.1", backlog: 4096 });
});
process.once("SIGTERM", () => process.exit(0));
