import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { domain, useEdge } from "./edge.fixture.js";

const start = useEdge();

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
