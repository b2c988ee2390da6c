import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Edge, type EdgeOptions, LocalCertificates, Names } from "./index.js";

const log = pino({ level: "silent" });
const domain = "gangway.localhost";
const unused = () => {
	throw new Error("not asked for here");
};

let dir: string;
let certificates: LocalCertificates;

beforeAll(async () => {
	dir = mkdtempSync(join(tmpdir(), "gangway-edge-"));
	const secrets = { get: async () => undefined, set: async () => {} };
	certificates = await LocalCertificates.open({ domain, dataDir: dir, secrets, log });
});
afterAll(async () => {
	await certificates.close();
	rmSync(dir, { recursive: true, force: true });
});

async function start(options: Partial<EdgeOptions>) {
	const edge = new Edge({
		names: new Names({ domain, apiHosts: [] }),
		bind: ["127.0.0.1"],
		tlsPort: 0,
		httpPort: 0,
		sshPort: 0,
		httpMode: "serve",
		certificates,
		handlers: {
			api: (_request, response) => response.end("api"),
			tunnel: { accept: unused, stream: unused },
			passthrough: unused,
			gateway: unused,
		},
		log,
		...options,
	});
	onTestFinished(() => edge.close({ graceMs: 0 }));
	return { edge, ...(await edge.listen()) };
}

async function dial(port: number, localAddress: string): Promise<Socket> {
	const socket = connect({ port, host: "127.0.0.1", localAddress }).on("error", () => {});
	onTestFinished(() => void socket.destroy());
	await once(socket, "connect");
	return socket;
}

/** An HTTP/2 connection from `localAddress` that has answered a request. */
async function session(port: number, localAddress: string) {
	const client = connectHttp2(`http://${domain}:${port}`, {
		createConnection: () => connect({ port, host: "127.0.0.1", localAddress }),
	});
	client.on("error", () => {});
	onTestFinished(() => client.destroy());
	const stream = client.request({ ":path": "/" });
	stream.resume().on("error", () => {});
	await Promise.race([once(stream, "response"), once(client, "close")]);
	return client;
}

describe("one address", () => {
	test("cannot take every connection: what it has one too many of is closed, whichever protocol, and others get in", async () => {
		const { edge, tlsPort, httpPort } = await start({ limits: { maxConnectionsPerAddress: 2 } });
		const [first, second] = [await session(httpPort, "127.0.0.2"), await session(httpPort, "127.0.0.2")];
		expect([first.closed, second.closed]).toEqual([false, false]);
		expect((await session(httpPort, "127.0.0.2")).closed).toBe(true);
		for (const port of [httpPort, tlsPort]) await once((await dial(port, "127.0.0.2")).resume(), "close");
		expect(edge.refused).toBe(3);
		expect((await session(httpPort, "127.0.0.3")).closed).toBe(false);

		first.destroy();
		while (edge.connections().http2 > 2) await new Promise(setImmediate);
		expect((await session(httpPort, "127.0.0.2")).closed).toBe(false);
	});

	test("of a trusted proxy speaks for many clients and is not limited", async () => {
		const { edge, httpPort } = await start({
			limits: { maxConnectionsPerAddress: 1 },
			exempt: (peerAddress) => peerAddress === "127.0.0.2",
		});
		for (let count = 0; count < 3; count++) expect((await session(httpPort, "127.0.0.2")).closed).toBe(false);
		expect(edge.refused).toBe(0);
	});
});
