/**
 * A web server that tests run inside a devbox, on 0.0.0.0 and each port that its arguments name:
 *
 *     /             a page
 *     /echo         JSON of the request as it arrived; `?status=` sets the answer's
 *     /cookies      two Set-Cookie fields
 *     /overwrite    tries to set the cookie that lets a browser in
 *     /posts        POST keeps the body; GET answers JSON of all bodies
 *     /raw          answers with the request's body, byte for byte, in place of a response
 *     /sink         JSON of the body's length and SHA-256
 *     /keystream    `?bytes=` of AES-128-CTR with key and counter 0
 *     /events       an event stream of `?count=` events; each but the first comes only after a request to /next
 *     /cors         JSON for pages of every origin, with credentials
 *     /silent       never answers
 *     /closes       JSON of what clients have closed: "4001 reason" of a WebSocket, "event stream"
 *     upgrades      a WebSocket that echoes; "close 4001 reason" closes it so, "ping" is answered once its ping was;
 *                   at /headers it first sends JSON of the request's headers, at /refuse it is 418
 */
import { createCipheriv, createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { WebSocketServer } from "ws";

const news = new EventEmitter();
const closes = [];
const posts = [];
const zeros = Buffer.alloc(1 << 18);

const routes = {
	"/"(_request, response) {
		response.setHeader("content-type", "text/html");
		response.end("<!doctype html><title>the app</title><h1>It works</h1>");
	},
	async "/echo"(request, response, url) {
		const { method, rawHeaders, headers, httpVersion } = request;
		const body = String(await buffer(request));
		response.writeHead(Number(url.searchParams.get("status") ?? 200), {
			"content-type": "application/json",
			"x-from-the-box": "yes",
		});
		const port = request.socket.localPort;
		response.end(JSON.stringify({ method, url: request.url, httpVersion, headers, rawHeaders, body, port }));
	},
	"/cookies"(_request, response) {
		response.setHeader("set-cookie", ["a=1; Path=/", "b=2; Path=/"]);
		response.end();
	},
	"/overwrite"(_request, response) {
		response.setHeader("set-cookie", ["__Host-gangway=of-the-app; Path=/; Secure", "mine=1; Path=/"]);
		response.end("tried");
	},
	async "/posts"(request, response) {
		if (request.method === "POST") posts.push(String(await buffer(request)));
		response.end(JSON.stringify(posts));
	},
	async "/raw"(request) {
		request.socket.end(await buffer(request));
	},
	async "/sink"(request, response) {
		const hash = createHash("sha256");
		let bytes = 0;
		for await (const chunk of request) {
			hash.update(chunk);
			bytes += chunk.length;
		}
		response.end(JSON.stringify({ bytes, sha256: hash.digest("hex") }));
	},
	async "/keystream"(_request, response, url) {
		const bytes = Number(url.searchParams.get("bytes"));
		response.setHeader("content-length", bytes);
		const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16));
		const blocks = function* () {
			for (let left = bytes; left > 0; left -= zeros.length) yield cipher.update(zeros.subarray(0, left));
		};
		await pipeline(Readable.from(blocks()), response);
	},
	async "/events"(_request, response, url) {
		const count = Number(url.searchParams.get("count"));
		response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
		response.on("close", () => response.writableEnded || closes.push("event stream"));
		for (let number = 1; number < count; number++) {
			response.write(`data: ${number}\n\n`);
			await once(news, "next");
		}
		response.end(`data: ${count}\n\n`);
	},
	"/next"(_request, response) {
		news.emit("next");
		response.end();
	},
	async "/cors"(request, response) {
		response.setHeader("access-control-allow-origin", request.headers.origin ?? "*");
		response.setHeader("access-control-allow-credentials", "true");
		response.setHeader("content-type", "application/json");
		const { method, headers } = request;
		response.end(JSON.stringify({ method, headers, body: String(await buffer(request)) }));
	},
	"/silent"() {},
	"/closes"(_request, response) {
		response.end(JSON.stringify(closes));
	},
};

async function handle(request, response) {
	const url = new URL(request.url, "http://box");
	const route = routes[url.pathname];
	if (!route) return response.writeHead(404).end("the box has no such page");
	try {
		await route(request, response, url);
	} catch {
		response.destroy();
	}
}

const sockets = new WebSocketServer({
	noServer: true,
	perMessageDeflate: { threshold: 0 },
	handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
});
sockets.on("connection", (socket, request) => {
	if (request.url === "/headers") socket.send(JSON.stringify(request.headers));
	socket.on("close", (code, reason) => closes.push(`${code} ${reason}`.trim()));
	socket.on("message", (data, isBinary) => {
		const [word, code, reason] = isBinary ? [] : data.toString().split(" ");
		if (word === "close") socket.close(Number(code), reason);
		else if (word === "ping") {
			socket.once("pong", (payload) => socket.send(`pong ${payload}`));
			socket.ping("of the box");
		} else socket.send(data, { binary: isBinary });
	});
});

for (const port of process.argv.slice(2)) {
	const server = createServer(handle);
	server.on("upgrade", (request, socket, head) => {
		if (request.url === "/refuse") return socket.end("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n");
		sockets.handleUpgrade(request, socket, head, (upgraded) => sockets.emit("connection", upgraded, request));
	});
	server.listen(Number(port), "0.0.0.0");
}
