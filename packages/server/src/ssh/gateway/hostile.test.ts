import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import pino from "pino";
import { Client } from "ssh2";
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

/** A client that sends what it likes. */
function sender(client: Client): PacketLink {
	return new PacketLink(client, socketOf(client), { message: () => {}, flow: () => {} });
}

/** Strings as messages have them. */
function fields(...texts: readonly string[]): Buffer[] {
	return texts.map((text) => Buffer.concat([Buffer.of(0, 0, 0, text.length), Buffer.from(text)]));
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

	/** A stranger with encryption, who can ask for a login; what it asks is up to the test. */
	async function stranger(world: World): Promise<Client> {
		const client = new Client();
		client.on("error", () => {});
		const socket = world.dial();
		await new Promise<void>((resolve) => {
			client.connect({ sock: socket, username: "nobody", strictVendor: false, authHandler: () => resolve() });
		});
		return client;
	}

	test("asking what logins there are is an attempt, too", async () => {
		const world = await World.start();
		const client = await stranger(world);
		const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
		const link = sender(client);
		for (let n = 0; n < 25; n++)
			link.send(Buffer.concat([Buffer.of(50), ...fields("nobody", "ssh-connection", "none")]));
		await closed;
		await expectServing(world);
	});

	test("a question that ends before its key is refused, and no error of ours", async () => {
		const errors: unknown[] = [];
		const log = pino({ level: "error" }, { write: (line) => errors.push(line) });
		const world = await World.start({ log });
		const client = await stranger(world);
		const refused = new Promise<void>((resolve) => client.once("error", () => resolve()));
		const text = fields("nobody", "ssh-connection", "publickey");
		sender(client).send(Buffer.concat([Buffer.of(50), ...text, Buffer.of(0), ...fields("ssh-ed25519")]));
		await refused;
		await expectServing(world);
		expect(errors).toEqual([]);
	});

	test("a stranger that reads no answers is cut off", async () => {
		const world = await World.start();
		const client = await stranger(world);
		const socket = socketOf(client);
		const link = sender(client);
		const question = Buffer.concat([Buffer.of(messages.globalRequest), ...fields("x"), Buffer.of(1)]);
		const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
		const ask = () => {
			while (!socket.destroyed && !socket.writableNeedDrain) link.send(question);
		};
		socket.pause().on("drain", ask);
		ask();
		await closed;
		await vi.waitFor(() => expect(world.gateway.connections).toBe(0));
		await expectServing(world);
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

	test("a message in the middle of one's own key exchange ends the connection", async () => {
		const world = await World.start();
		const client = await world.logIn();
		const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
		const { _protocol } = client as unknown as {
			_protocol: { rekey(): void; _kexinit: unknown; _strictMode: boolean };
		};
		const link = sender(client);
		_protocol.rekey();
		_protocol._kexinit = undefined;
		link.send(channelOpen("session", 0));
		await closed;
		await expectServing(world);
	});

	test("who lets more wait than anybody needs is cut off", async () => {
		const world = await World.start();
		const client = await world.logIn();
		const socket = socketOf(client);
		const link = sender(client);
		socket.pause();
		const closed = once(socket, "close");
		for (let n = 0; n < 10_000 && !socket.destroyed; n++) link.send(Buffer.alloc(30_000));
		await closed;
		await expectServing(world);
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
