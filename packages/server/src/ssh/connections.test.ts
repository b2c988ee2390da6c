import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import type { Duplex } from "node:stream";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { SshConnections } from "./connections.js";
import { type Sshd, startSshd } from "./sshd.fixture.js";

let sshd: Sshd;
let connections: SshConnections;
/** A server on the boxes' loopback that stays silent. */
let port: number;

beforeEach(async () => {
	sshd = await startSshd();
	connections = new SshConnections({ directory: { sshAccess: async () => sshd.access }, connect: sshd.connect });
	const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
	await once(server, "listening");
	port = (server.address() as AddressInfo).port;
	onTestFinished(() => {
		connections.close();
		server.close();
	});
});

/** The test's end breaks it off. */
function begin(devboxId: string): Duplex {
	return connections.openTcp(devboxId, "127.0.0.1", port).on("error", () => {});
}

async function open(devboxId: string): Promise<Duplex> {
	const stream = begin(devboxId);
	await once(stream, "connect");
	return stream;
}

test("each devbox has one connection, which is shared", async () => {
	await Promise.all([open("dbx_a"), open("dbx_a"), open("dbx_b")]);
	expect(sshd.connections()).toBe(2);
});

test("a devbox that stopped loses its streams, another's live on; the next one connects anew", async () => {
	const [first, other] = await Promise.all([open("dbx_a"), open("dbx_b")]);
	const failed = once(first, "error");
	connections.drop("dbx_a");
	expect((await failed)[0]).toMatchObject({ code: "ECONNRESET" });
	expect(other.destroyed).toBe(false);
	await open("dbx_a");
	expect(sshd.connections()).toBe(3);
});

test("a connection that broke is made anew", async () => {
	const failed = once(await open("dbx_a"), "error");
	sshd.kill();
	await failed;
	await open("dbx_a");
	expect(sshd.connections()).toBe(2);
});

test("close ends all, twice is fine, and so is one that is only connecting", async () => {
	const streams = [await open("dbx_a"), begin("dbx_b")];
	const failed = streams.map((stream) => once(stream, "error"));
	connections.close();
	connections.close();
	for (const [error] of await Promise.all(failed)) expect(error).toMatchObject({ code: "ECONNRESET" });
});
