/**
 * No proxy: the least that Node can do. Each client's connection is a byte pipe to one connection of its own to the box,
 * nothing is parsed, routed or pooled. What lies between this and nginx is Node itself; what lies between this and ours is ours.
 */
import { readFileSync } from "node:fs";
import * as net from "node:net";
import * as tls from "node:tls";

const [plainPort, tlsPort, upstreamPort = 0, livePort = 0] = process.argv.slice(2, 6).map(Number);
const [host = "", certificate = "", key = ""] = process.argv.slice(6);

/** All reads from the box go in here; what is kept is copied. */
const shared = Buffer.allocUnsafeSlow(256 * 1024);
/** Up to here text is cheaper than a copy. */
const SMALL = 12 * 1024;
/** A connection is for one of the two servers, and its first bytes tell which. */
const LIVE = /^(?:GET \/(?:ws|events)|POST \/up) /;

function pipe(client: net.Socket): void {
	client.setNoDelay(true);
	client.on("error", () => client.destroy());
	client.once("data", (first: Buffer) => {
		const port = LIVE.test(first.toString("latin1", 0, 16)) ? livePort : upstreamPort;
		const box = net.connect({
			host,
			port,
			noDelay: true,
			onread: { buffer: shared, callback: (size) => forward(size, client) },
		});
		box.on("error", () => client.destroy());
		box.on("close", () => client.destroy());
		box.on("drain", () => client.resume());
		client.on("drain", () => box.resume());
		client.on("close", () => box.destroy());
		const onward = (chunk: Buffer) => {
			if (!box.write(chunk)) client.pause();
		};
		client.on("data", onward);
		onward(first);
	});
}

function forward(size: number, client: net.Socket): boolean {
	if (size <= SMALL) return client.write(shared.toString("latin1", 0, size), "latin1");
	return client.write(Buffer.from(shared.subarray(0, size)));
}

net.createServer(pipe).listen({ port: plainPort, host: "127.0.0.1", backlog: 4096 });
const secure = tls.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, pipe);
secure.on("tlsClientError", () => {});
secure.listen({ port: tlsPort, host: "127.0.0.1", backlog: 4096 });

process.once("SIGTERM", () => process.exit(0));
