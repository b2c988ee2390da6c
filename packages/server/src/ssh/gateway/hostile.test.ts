import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import type { Client } from "ssh2";
import { describe, expect, test, vi } from "vitest";
import { readAll, World } from "./gateway.fixture.js";
import { messages } from "./messages.js";
import { PacketLink, socketOf } from "./packets.js";

/** What serves an honest client serves it still. */
async function expectServing(world: World): Promise<void> {
	const client = await world.logIn();
	const output = await new Promise<string>((resolve, reject) => {
		client.exec("echo serving", (error, channel) => (error ? reject(error) : text(channel).then(resolve)));
	});
	expect(output).toBe("serving\n");
	client.end();
}

const version = "SSH-2.0-hostile\r\n";
/** An unencrypted packet (RFC 4253, section 6). */
function packet(payload: Buffer): Buffer {
	const padding = 4 + ((8 - ((payload.length + 9) % 8)) % 8);
	const head = Buffer.alloc(5);
	head.writeUInt32BE(1 + payload.length + padding);
	head.writeUInt8(padding, 4);
	return Buffer.concat([head, payload, Buffer.alloc(padding)]);
}

describe("before a login", () => {
	test.each<[string, Buffer]>([
		["random bytes", randomBytes(10_000)],
		["a line without an end", Buffer.alloc(100_000, "A")],
		["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
		["random bytes after the version", Buffer.concat([Buffer.from(version), randomBytes(10_000)])],
		["a packet of 4 GB", Buffer.concat([Buffer.from(version), Buffer.alloc(16, 0xff)])],
		[
			"a key exchange of nonsense",
			Buffer.concat([Buffer.from(version), packet(Buffer.concat([Buffer.of(20), randomBytes(500)]))]),
		],
		[
			"a login without a key exchange",
			Buffer.concat([Buffer.from(version), packet(Buffer.concat([Buffer.of(50), randomBytes(100)]))]),
		],
		[
			"a channel without a login",
			Buffer.concat([Buffer.from(version), packet(Buffer.concat([Buffer.of(90), randomBytes(100)]))]),
		],
	])("%s ends the connection, and nothing else", async (_, bytes) => {
		const world = await World.start();
		const socket = world.dial();
		socket.write(bytes);
		await readAll(socket);
		await vi.waitFor(() => expect(world.gateway.connections).toBe(0));
		await expectServing(world);
		expect(world.audit.events.filter(({ outcome }) => outcome !== undefined)).toEqual([]);
	});

	test("a thousand connections of all that at once", async () => {
		const world = await World.start({ loginGraceMs: 2_000 });
		const kinds = [
			randomBytes(500),
			Buffer.from(version),
			Buffer.from("SSH-"),
			Buffer.alloc(0),
			Buffer.from(`${version}\0\0`),
		];
		const flood = Array.from({ length: 1_000 }, async (_, n) => {
			const socket = world.dial();
			await once(socket, "connect");
			socket.write(kinds[n % kinds.length]!);
			if (n % 7 === 0) socket.resetAndDestroy();
			return socket;
		});
		await Promise.all(flood);
		await expectServing(world);
		await vi.waitFor(() => expect(world.gateway.connections).toBe(0), { timeout: 10_000 });
	});
});

describe("after a login", () => {
	/** A client that sends what it likes. */
	function sender(client: Client) {
		return new PacketLink(client, socketOf(client), { message: () => {}, flow: () => {} });
	}

	test.each<[string, Buffer[]]>([
		["a CHANNEL_OPEN that ends too early", [Buffer.of(messages.channelOpen, 0, 0, 0, 9, 1)]],
		["a length beyond the message", [Buffer.of(messages.channelOpen, 0xff, 0xff, 0xff, 0xff)]],
		["data for no channel, cut off", [Buffer.of(messages.channelData, 0)]],
		["a request cut off", [Buffer.of(messages.channelRequest, 0, 0, 0, 0)]],
		["a second channel of the same number", [0, 1].map(() => channelOpen("session", 5))],
	])("%s ends the connection, and nothing else", async (_, payloads) => {
		const world = await World.start();
		const client = await world.logIn();
		const link = sender(client);
		const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
		for (const payload of payloads) link.send(payload);
		await closed;
		await expectServing(world);
	});

	test("more than may wait for a sleeping box is not read", async () => {
		const world = await World.start();
		world.devbox = { teamId: "team_a", status: "suspended", resumes: true };
		world.awaitRunning = () => new Promise(() => {});
		const client = await world.logIn();
		const link = sender(client);
		const socket = socketOf(client);
		const before = process.memoryUsage().rss;
		for (let n = 0; n < 3_000 && !socket.writableNeedDrain; n++)
			link.send(Buffer.concat([Buffer.of(messages.globalRequest), Buffer.alloc(30_000)]));
		await vi.waitFor(() => expect(socket.writableNeedDrain).toBe(true));
		expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
	});

	test("a peer that never finishes a key exchange only stops itself", async () => {
		const world = await World.start();
		const stuck = await world.logIn();
		const { _protocol } = stuck as unknown as { _protocol: { rekey(): void; parse: unknown } };
		_protocol.parse = () => {};
		_protocol.rekey();
		await expectServing(world);
	});
});

function channelOpen(kind: string, sender: number): Buffer {
	const fields = Buffer.alloc(12);
	fields.writeUInt32BE(sender);
	const name = Buffer.from(kind);
	return Buffer.concat([Buffer.of(messages.channelOpen, 0, 0, 0, name.length), name, fields]);
}
