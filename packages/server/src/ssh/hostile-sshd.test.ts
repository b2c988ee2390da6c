import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Connection, Server, type ServerChannel, type ServerConfig } from "ssh2";
import { expect, onTestFinished, test } from "vitest";
import { generateEcdsaKeyPair } from "../devboxes/keys.js";
import { SshClient } from "./client.js";

/** What ssh2 keeps to itself, for servers that do what no honest one does. */
interface Internals {
	readonly _protocol: {
		channelOpenConfirm(remote: number, local: number, window: number, packetSize: number): void;
		channelEOF(id: number): void;
		channelData(id: number, data: Buffer): void;
		channelExtData(id: number, data: Buffer, type: number): void;
		rekey(): void;
	};
	readonly _sock: Socket;
}

interface Hostile {
	open(): Duplex;
	/** The next channel that the client opens. */
	channel(): Promise<ServerChannel>;
}

/** A client that is logged in to a server of a test's own. */
async function loggedIn(
	corrupt: (connection: Connection) => void = () => {},
	algorithms: ServerConfig["algorithms"] = {},
): Promise<Hostile> {
	const [key, hostKey] = await Promise.all([generateEcdsaKeyPair(), generateEcdsaKeyPair()]);
	const channels: ((channel: ServerChannel) => void)[] = [];
	const server = new Server({ hostKeys: [hostKey.privateKeyPem], algorithms }, (connection) => {
		connection.on("error", () => {});
		connection.on("authentication", (context) => context.accept());
		connection.on("tcpip", (accept) => channels.shift()?.(accept()));
		corrupt(connection);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as AddressInfo;
	const client = new SshClient({
		access: Promise.resolve({
			address: "",
			user: "user",
			privateKeyPem: key.privateKeyPem,
			hostPublicKey: hostKey.publicKey,
		}),
		connect: () => connect(port, "127.0.0.1"),
		idleTimeoutMs: 60_000,
	});
	onTestFinished(() => {
		client.close();
		server.close();
	});
	return {
		open: () => client.openTcp("127.0.0.1", 1).on("error", () => {}),
		channel: () => new Promise((resolve) => channels.push(resolve)),
	};
}

test("a server that sends beyond the window does not fill our memory: the stream that holds most is cut, the others live", async () => {
	const { open, channel } = await loggedIn();
	const opened = channel();
	const flooded = open();
	const flood = await opened;
	(flood.outgoing as { window: number }).window = Number.POSITIVE_INFINITY;
	const other = channel();
	const honest = open();
	const honestEnd = await other;
	const failed = once(flooded, "error");
	const chunk = Buffer.alloc(1_000_000);
	for (let sent = 0; sent < 100; sent++) flood.write(chunk);
	expect((await failed)[0]).toMatchObject({ code: "ENOBUFS" });
	honestEnd.write("still here");
	expect(String((await once(honest, "data"))[0])).toBe("still here");
});

test("a server that takes no bytes in a packet does not hang us", async () => {
	const { open, channel } = await loggedIn((connection) => {
		const { _protocol: protocol } = connection as unknown as Internals;
		const confirm = protocol.channelOpenConfirm.bind(protocol);
		protocol.channelOpenConfirm = (remote, local, window) => confirm(remote, local, window, 0);
	});
	void channel();
	const stream = open();
	stream.write("x");
	expect((await once(stream, "error"))[0]).toMatchObject({ code: "ECONNRESET" });
});

test("what a server sends as standard error is thrown away", async () => {
	const { open, channel } = await loggedIn();
	const opened = channel();
	const stream = open();
	const end = await opened;
	end.stderr.write(Buffer.alloc(10_000_000), () => end.write("data"));
	expect(String((await once(stream, "data"))[0])).toBe("data");
});

test("data after the end of a channel does not take the daemon down", async () => {
	let protocol: Internals["_protocol"] | undefined;
	const { open, channel } = await loggedIn((connection) => {
		protocol = (connection as unknown as Internals)._protocol;
	});
	const opened = channel();
	const ended = once(open().resume(), "end");
	const { id } = (await opened).outgoing as { readonly id: number };
	protocol!.channelEOF(id);
	protocol!.channelExtData(id, Buffer.from("late"), 1);
	protocol!.channelData(id, Buffer.from("late"));
	await ended;
	const other = channel();
	const stream = open();
	(await other).write("still here");
	expect(String((await once(stream, "data"))[0])).toBe("still here");
});

test("while a server re-keys, what is written waits outside of ssh2, and goes on when it has done", async () => {
	let connection: Connection | undefined;
	const { open, channel } = await loggedIn((made) => {
		connection = made;
	});
	const opened = channel();
	const stream = open();
	const end = await opened;
	const { _protocol: protocol, _sock: socket } = connection as unknown as Internals;
	const [hear] = socket.listeners("data") as ((chunk: Buffer) => void)[];
	socket.off("data", hear!);
	const answer = once(socket, "data");
	protocol.rekey();
	const [unheard] = await answer;

	for (let written = 0; written < 3; written++) stream.write(Buffer.alloc(100_000));
	stream.end();
	// By then all that nobody stops is called back.
	await new Promise(setImmediate);
	expect(stream.writableLength).toBe(300_000);

	socket.on("data", hear!);
	hear!(unheard);
	let received = 0;
	for await (const chunk of end) received += chunk.length;
	expect(received).toBe(300_000);
});

test.each<[string, ServerConfig["algorithms"]]>([
	["key exchange in a finite field", { kex: ["diffie-hellman-group18-sha512"] }],
	["compression", { compress: ["zlib@openssh.com"] }],
])("a server that can do nothing but %s is not talked to", async (_what, algorithms) => {
	const { open } = await loggedIn(() => {}, algorithms);
	expect((await once(open(), "error"))[0]).toMatchObject({ code: "EHOSTUNREACH" });
});
