/** Clients that get it wrong, on purpose or not: they harm nobody, and leave nothing behind. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { descriptors } from "./support/host.js";
import { Conversation } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let box: Box;
let suspended: Box;
beforeAll(async () => {
	daemon = await Daemon.start();
	[box, suspended] = await Promise.all([Box.create(daemon), Box.create(daemon)]);
	await suspended.suspend();
	// The SDK's own connections are there from now on.
	await box.view();
});
afterAll(() => daemon?.remove());

let before: number;
let pid: number;
beforeEach(async () => {
	pid = daemon.pid;
	expect(await box.ssh.out("echo well")).toBe("well");
	before = await settled();
});
/** Whatever a test did: the daemon is the same, works, and holds no descriptor more. */
afterEach(async () => {
	expect(await box.ssh.out("echo well")).toBe("well");
	expect(daemon.pid).toBe(pid);
	await until(`descriptors come down to ${before}`, () => descriptors(pid) <= before);
});

/** What the last test closed may be on its way out still. */
async function settled(): Promise<number> {
	let last = -1;
	await until("the descriptors stay as they are", () => {
		const now = descriptors(pid);
		const same = now === last;
		last = now;
		return same;
	});
	return last;
}

const times = 20;
const many = <T>(make: (n: number) => Promise<T>) => Promise.all(Array.from({ length: times }, (_, n) => make(n)));

async function tcp(port = daemon.endpoints.tls_port): Promise<Socket> {
	const socket = connectTcp({ host: "127.0.0.1", port });
	socket.on("error", () => undefined);
	onTestFinished(() => void socket.destroy());
	await once(socket, "connect");
	return socket;
}

function tls(servername: string): Socket {
	const socket = connectTls({
		host: "127.0.0.1",
		port: daemon.endpoints.tls_port,
		servername,
		rejectUnauthorized: false,
	});
	socket.on("error", () => undefined);
	onTestFinished(() => void socket.destroy());
	return socket;
}

/** Everything the other side says until it ends the connection. */
async function untilClosed(socket: Socket): Promise<Buffer> {
	const chunks: Buffer[] = [];
	socket.on("data", (chunk: Buffer) => chunks.push(chunk));
	if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
	return Buffer.concat(chunks);
}

async function expectSilence(name: string) {
	const heard = await many(async () => {
		const socket = tls(name);
		// As ssh does, before it has heard anything.
		socket.write("SSH-2.0-OpenSSH_9.2\r\n");
		return String(await untilClosed(socket));
	});
	expect(new Set(heard)).toEqual(new Set([""]));
	expect((await suspended.view()).status).toBe("suspended");
}

describe("a name below ssh.<domain> that leads nowhere ends the connection without a word", () => {
	test.each([
		["an unknown devbox", () => "dbx-00000000000000000000000000.ssh.gangway.localhost"],
		["no devbox at all", () => "hello.ssh.gangway.localhost"],
		["a suspended devbox that ssh does not wake", () => suspended.ssh.host],
		["an id as the API spells it", () => box.ssh.host.replace("-", "_")],
		["one label too many", () => `a.${box.ssh.host}`],
	])("%s", async (_, name) => {
		await expectSilence(name());
	});

	test("and ssh says that the connection was closed", async () => {
		const proxy = suspended.ssh.proxyCommand.replace("%h", "dbx-00000000000000000000000000.ssh.gangway.localhost");
		const { code, stderr } = await box.ssh.with({ ProxyCommand: proxy }).run("true");
		expect(code).toBe(255);
		expect(stderr).toMatch(/Connection closed/);
	});
});

test("the label is taken in any case, as host names are", async () => {
	const proxy = box.ssh.proxyCommand.replace("%h", box.ssh.host.toUpperCase());
	expect(await box.ssh.with({ ProxyCommand: proxy }).out("echo inside")).toBe("inside");
});

describe("what is no TLS ends the connection", () => {
	test.each([
		["random bytes", () => randomBytes(4096)],
		["zeros", () => Buffer.alloc(4096)],
		["an SSH banner", () => Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")],
		["plain HTTP", () => Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
		["a TLS record of a size that cannot be", () => Buffer.from("160301ffff01", "hex")],
		["an alert", () => Buffer.from("15030100020228", "hex")],
	])("%s", async (_, bytes) => {
		await many(async () => {
			const socket = await tcp();
			socket.write(bytes());
			// Some of it could be the beginning of something: then it is our end that ends it.
			socket.end();
			await untilClosed(socket);
		});
	});
});

describe("connections that are given up half way leave nothing", () => {
	/** The beginning of a ClientHello of 512 bytes. */
	const beginning = Buffer.from("16030102000100", "hex");

	test("before the first byte", async () => {
		await many(async (n) => {
			const socket = await tcp();
			if (n % 2) socket.destroy();
			else socket.resetAndDestroy();
		});
	});

	test("in the middle of a ClientHello", async () => {
		await many(async (n) => {
			const socket = await tcp();
			socket.write(beginning);
			if (n % 2) socket.end();
			else socket.resetAndDestroy();
		});
	});

	test("after the handshake, before a byte of SSH", async () => {
		await many(async (n) => {
			const socket = tls(box.ssh.host);
			// sshd's banner: the way to the box is open.
			const [banner] = await once(socket, "data");
			expect(String(banner)).toMatch(/^SSH-2\.0-/);
			if (n % 2) socket.destroy();
			else socket.end();
		});
	});

	test("in the middle of SSH's key exchange", async () => {
		await many(async () => {
			const socket = tls(box.ssh.host);
			await once(socket, "data");
			socket.write("SSH-2.0-Tester\r\n");
			socket.write(randomBytes(700));
			await untilClosed(socket);
		});
	});

	test("in the middle of a session", async () => {
		const sessions = await Promise.all(
			Array.from({ length: 5 }, async () => {
				const session = new Conversation(box.ssh.spawn(["echo open; cat"]));
				await session.sees(/^open$/m);
				return session;
			}),
		);
		await Promise.all(sessions.map((session) => session.kill()));
	});

	test("while the other side sends all it can", async () => {
		const session = new Conversation(box.ssh.spawn(["cat /dev/zero"]));
		await session.sees(/\0{1000}/);
		await session.kill();
		await until("nothing sends any more", async () => (await box.ssh.run("pgrep -x cat")).code === 1);
	});
});

describe("half-open connections", () => {
	test("that say half a ClientHello and then nothing are closed, and hold nobody up", { timeout: 60_000 }, async () => {
		const silent = await many(async (n) => {
			const socket = await tcp();
			if (n % 2) socket.write(Buffer.from("16030102000100", "hex"));
			return untilClosed(socket);
		});
		expect(silent).toHaveLength(times);
	});
});

test("an sshd that was killed is there again at once", async () => {
	for (const _ of [1, 2]) {
		// The listener and every session, this one too.
		expect((await box.ssh.run("sudo -n pkill -KILL -x sshd")).code).toBe(255);
		await until("ssh works again", async () => (await box.ssh.run("true")).code === 0);
	}
	expect((await box.view()).status).toBe("running");
});
