import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { expect, onTestFinished, test, vi } from "vitest";
import { generateEcdsaKeyPair } from "../devboxes/keys.js";
import { SshClient, type SshClientOptions } from "./client.js";
import { type Sshd, startSshd } from "./sshd.fixture.js";

function clientOf(sshd: Sshd, change: Partial<SshClientOptions> = {}): SshClient {
	const access = Promise.resolve(sshd.access);
	const client = new SshClient({ access, connect: sshd.connect, idleTimeoutMs: 60_000, ...change });
	onTestFinished(() => client.close());
	return client;
}

/** A server on the "box's" loopback. Returns its port. */
async function listen(accept: (socket: Socket) => void, host = "127.0.0.1"): Promise<number> {
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		socket.on("error", () => {});
		onTestFinished(() => void socket.destroy());
		accept(socket);
	});
	server.listen(0, host);
	await once(server, "listening");
	onTestFinished(() => void server.close());
	return (server.address() as AddressInfo).port;
}

async function nobody(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as AddressInfo;
	server.close();
	await once(server, "close");
	return port;
}

async function bytes(stream: AsyncIterable<Buffer>): Promise<Buffer> {
	const chunks: Buffer[] = [];
	for await (const chunk of stream) chunks.push(chunk);
	return Buffer.concat(chunks);
}

async function errorOf(stream: Duplex): Promise<NodeJS.ErrnoException> {
	const [error] = await once(stream, "error");
	return error;
}

const sha256 = (content: Buffer) => createHash("sha256").update(content).digest("hex");

test("5 MB both ways at once arrive whole, with half-closes at each end", async () => {
	const [up, down] = [randomBytes(5_000_000), randomBytes(5_000_000)];
	let received: Promise<Buffer> | undefined;
	const port = await listen((socket) => {
		socket.end(down);
		received = bytes(socket);
	});
	const stream = clientOf(await startSshd()).openTcp("127.0.0.1", port);
	// Before it stands: what is written waits.
	stream.end(up);
	expect(sha256(await bytes(stream))).toBe(sha256(down));
	expect(sha256(await received!)).toBe(sha256(up));
});

test("a server with another host key is refused, and is not logged in to", async () => {
	const sshd = await startSshd();
	const { publicKey } = await generateEcdsaKeyPair();
	let reached = false;
	const port = await listen(() => {
		reached = true;
	});
	const access = Promise.resolve({ ...sshd.access, hostPublicKey: publicKey });
	const error = await errorOf(clientOf(sshd, { access }).openTcp("127.0.0.1", port));
	expect(error.code).toBe("EHOSTUNREACH");
	expect(String(error.cause)).toMatch(/host/i);
	expect(reached).toBe(false);
});

test("a key that is not the box's does not get in", async () => {
	const sshd = await startSshd();
	const { privateKeyPem } = await generateEcdsaKeyPair();
	const access = Promise.resolve({ ...sshd.access, privateKeyPem });
	expect((await errorOf(clientOf(sshd, { access }).openTcp("127.0.0.1", 1))).code).toBe("EHOSTUNREACH");
});

test("a box that does not run is unreachable", async () => {
	const client = clientOf(await startSshd(), { access: Promise.reject(new Error("it sleeps")) });
	expect((await errorOf(client.openTcp("127.0.0.1", 1))).code).toBe("EHOSTUNREACH");
});

test("a box without an sshd is unreachable", async () => {
	const port = await nobody();
	const client = clientOf(await startSshd(), { connect: () => connect(port, "127.0.0.1") });
	expect((await errorOf(client.openTcp("127.0.0.1", 1))).code).toBe("EHOSTUNREACH");
});

test("a port where nothing listens is refused, on one of the two loopback addresses where it listens on the other", async () => {
	const client = clientOf(await startSshd());
	expect((await errorOf(client.openTcp("127.0.0.1", await nobody()))).code).toBe("ECONNREFUSED");
	const port = await listen((socket) => socket.end("six"), "::1");
	expect((await errorOf(client.openTcp("127.0.0.1", port))).code).toBe("ECONNREFUSED");
	expect(String(await bytes(client.openTcp("::1", port)))).toBe("six");
});

test("all streams share one connection", async () => {
	const sshd = await startSshd();
	const client = clientOf(sshd);
	const port = await listen((socket) => socket.end("x"));
	const streams = Array.from({ length: 50 }, () => client.openTcp("127.0.0.1", port));
	expect((await Promise.all(streams.map(bytes))).map(String)).toEqual(streams.map(() => "x"));
	expect(sshd.connections()).toBe(1);
});

test("a stream whose SSH connection breaks ends with an error, not as if all had come", async () => {
	const sshd = await startSshd();
	const closed = vi.fn();
	const client = clientOf(sshd, { closed });
	const stream = client.openTcp("127.0.0.1", await listen((socket) => socket.write("half")));
	await once(stream, "data");
	let ended = false;
	stream.on("end", () => {
		ended = true;
	});
	sshd.kill();
	expect((await errorOf(stream)).code).toBe("ECONNRESET");
	expect(closed).toHaveBeenCalledOnce();
	expect(ended).toBe(false);
	expect((await errorOf(client.openTcp("127.0.0.1", 1))).code).toBe("ECONNRESET");
});

test("a destroyed stream's connection in the box is closed", async () => {
	const client = clientOf(await startSshd());
	let ended: Promise<unknown> | undefined;
	const port = await listen((socket) => {
		ended = once(socket, "end");
		socket.pipe(socket);
	});
	const stream = client.openTcp("127.0.0.1", port);
	stream.write("b");
	await once(stream, "data");
	stream.destroy();
	await ended;
});

test("it closes itself when nothing was open for the idle time, and only then", async () => {
	const sshd = await startSshd();
	const port = await listen((socket) => socket.pipe(socket));
	let closed = false;
	await new Promise<void>((resolve) => {
		const client = clientOf(sshd, {
			idleTimeoutMs: 50,
			closed: () => {
				closed = true;
				resolve();
			},
		});
		const stream = client.openTcp("127.0.0.1", port);
		stream.on("close", () => expect(closed).toBe(false));
		stream.resume().end("still there");
	});
});
