/** Clients that go away unseen: nothing is read from them, because the box takes nothing, or there is nothing more to read. */
import { describe, expect, it } from "vitest";
import { cleanup, connect, type Peer, rawServer, stalled, startEngine } from "./testing.fixture.js";
import { isSecure, useTls } from "./transport.fixture.js";

const OFF = { head: 0, keepAlive: 0, idleBody: 0, pooled: 0, idleUpgrade: 0, halfClosed: 0, tick: 10 };
const UPGRADE = "GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";

/** Writes until nothing is taken any more. */
async function fill(client: Peer): Promise<void> {
	let written = 0;
	const chunk = Buffer.alloc(64 * 1024);
	const more = () => {
		while (client.socket.write(chunk)) written += chunk.length;
	};
	client.socket.on("drain", more);
	more();
	await stalled(() => written);
}

async function startDeafBox(first?: string) {
	const box = await rawServer((peer) => {
		peer.socket.once("data", () => {
			peer.socket.pause();
			if (first !== undefined) peer.write(first);
		});
	});
	return await startEngine(box.port, { timeouts: OFF });
}

for (const secure of [false, true]) {
	describe(`a client that is reset ${secure ? "over TLS" : "over TCP"} while the box does not read`, () => {
		it("has its upload aborted", async () => {
			if (secure !== isSecure()) await useTls();
			const { port, engine, records } = await startDeafBox();
			const client = await connect(port);
			client.write("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
			await fill(client);
			client.socket.resetAndDestroy();
			await expect.poll(() => engine.stats(), { timeout: 10_000 }).toMatchObject({ clients: 0, upstreams: 0 });
			expect(records).toMatchObject([{ status: 0, outcome: "aborted" }]);
		});

		it("has its upgraded connection aborted", async () => {
			const { port, engine, records } = await startDeafBox(
				"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n",
			);
			const client = await connect(port);
			await client.write(UPGRADE).sees("101");
			await fill(client);
			client.socket.resetAndDestroy();
			await expect.poll(() => engine.stats(), { timeout: 10_000 }).toMatchObject({ clients: 0, upstreams: 0 });
			expect(records).toMatchObject([{ status: 101, outcome: "aborted" }]);
		});
	});
}

it("a client whose reset comes together with its request is not taken for one that has half-closed", async () => {
	const box = await rawServer(() => {});
	const { port, engine, records } = await startEngine(box.port, { timeouts: OFF });
	const client = await connect(port);
	// A head that is not finished: from here on the engine reads, and in one turn sees both of what follows.
	client.write("GET / HTTP/1.1\r\nHost: t\r\n");
	await expect.poll(() => engine.stats().clients).toBe(1);
	client.socket.write("\r\n");
	client.socket.resetAndDestroy();
	await expect.poll(() => engine.stats(), { timeout: 10_000 }).toMatchObject({ clients: 0, upstreams: 0 });
	expect(records).toMatchObject([{ status: 0, outcome: "aborted" }]);
});

it("a client that stays is not disturbed by being looked after", async () => {
	const box = await rawServer((peer) => void peer.socket.pause());
	const { port, engine } = await startEngine(box.port, { timeouts: OFF });
	const client = await connect(port);
	client.write("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
	await fill(client);
	const gone = await connect(port);
	cleanup(() => void gone.socket.destroy());
	gone.write("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
	await fill(gone);
	gone.socket.resetAndDestroy();
	// Both are looked after in the same turn: when one is found gone, the other was looked at.
	await expect.poll(() => engine.stats().clients, { timeout: 10_000 }).toBe(1);
	const peer = box.peers[0]!;
	const before = peer.receivedBytes;
	peer.socket.resume();
	await peer.when("more of the upload", () => peer.receivedBytes > before);
	expect(client.received).toBe("");
});
