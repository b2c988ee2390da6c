import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type Runloop from "@runloop/api-client";

/**
 * A web server inside a devbox, on 0.0.0.0:8080:
 *
 *     /echo     JSON of the request as it arrived; `?status=` sets the answer's
 *     /cookies  two Set-Cookie fields
 *     /file     PUT keeps the body and answers its SHA-256; GET sends it
 *     /events   an event stream; the second event comes only after a request to /next
 *     upgrades  a WebSocket that echoes; the message "close 4001 reason" closes it so
 */
const source = `import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";
import { WebSocketServer } from "ws";

let next = deferred();
function deferred() {
	const result = {};
	result.promise = new Promise((resolve) => { result.resolve = resolve; });
	return result;
}

const routes = {
	async "/echo"(request, response, url) {
		const chunks = [];
		for await (const chunk of request) chunks.push(chunk);
		const { method, rawHeaders, headers, httpVersion } = request;
		const body = Buffer.concat(chunks).toString();
		response.writeHead(Number(url.searchParams.get("status") ?? 200), { "content-type": "application/json", "x-from-the-box": "yes" });
		response.end(JSON.stringify({ method, url: request.url, httpVersion, headers, rawHeaders, body }));
	},
	async "/cookies"(_request, response) {
		response.setHeader("set-cookie", ["a=1; Path=/", "b=2; Path=/"]);
		response.end();
	},
	async "/file"(request, response) {
		if (request.method !== "PUT") {
			response.setHeader("content-length", statSync("file").size);
			return pipeline(createReadStream("file"), response);
		}
		const hash = createHash("sha256");
		await pipeline(request, async function* (chunks) {
			for await (const chunk of chunks) {
				hash.update(chunk);
				yield chunk;
			}
		}, createWriteStream("file"));
		response.end(hash.digest("hex"));
	},
	async "/events"(_request, response) {
		response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
		response.write("data: first\\n\\n");
		await next.promise;
		next = deferred();
		response.end("data: second\\n\\n");
	},
	async "/next"(_request, response) {
		next.resolve();
		response.end();
	},
};

const server = createServer((request, response) => {
	const url = new URL(request.url, "http://box");
	const route = routes[url.pathname];
	if (!route) return response.writeHead(404).end("the box has no such page");
	route(request, response, url).catch(() => response.destroy());
});
const sockets = new WebSocketServer({ server, handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false) });
sockets.on("connection", (socket, request) => {
	if (request.url === "/headers") socket.send(JSON.stringify(request.headers));
	socket.on("message", (data, isBinary) => {
		const [word, code, reason] = isBinary ? [] : data.toString().split(" ");
		if (word === "close") socket.close(Number(code), reason);
		else socket.send(data, { binary: isBinary });
	});
});
server.listen(8080, "0.0.0.0");
`;

/** The WebSocket library, which a box does not have. */
function wsFiles(): Record<string, string> {
	const root = dirname(createRequire(import.meta.url).resolve("ws/package.json"));
	const names = ["package.json", "index.js", "wrapper.mjs", ...readdirSync(join(root, "lib")).map((n) => `lib/${n}`)];
	return Object.fromEntries(names.map((name) => [`node_modules/ws/${name}`, readFileSync(join(root, name), "utf8")]));
}

/** Parameters of a devbox that runs the server, also after each resume, and only then counts as running. */
export function withWebServer(params: Runloop.DevboxCreateParams = {}): Runloop.DevboxCreateParams {
	const listens = "until (: </dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.02; done";
	return {
		...params,
		file_mounts: { ...wsFiles(), "server.mjs": source, ...params.file_mounts },
		launch_parameters: {
			...params.launch_parameters,
			launch_commands: ["nohup node server.mjs >server.log 2>&1 &", listens],
		},
	};
}
