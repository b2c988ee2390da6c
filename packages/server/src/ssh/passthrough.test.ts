import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { listeningAudit } from "../audit/audit.fixture.js";
import type { SshDirectory, SshTarget } from "../devboxes/index.js";
import { Passthrough } from "./index.js";

const log = pino({ level: "silent" });
const MINUTE_MS = 60_000;
const MB = 1_048_576;

const running: SshTarget = { devboxId: "dbx_a", status: "running", address: "127.0.0.1", wakes: false };
const boxes = new Map<string, SshTarget>();
let activity: string[];
let audit: ReturnType<typeof listeningAudit>;
let awaitRunning: SshDirectory["awaitRunning"];
const directory: SshDirectory = {
	lookupLabel: async (label) => boxes.get(label),
	awaitRunning: (devboxId, signal) => awaitRunning(devboxId, signal),
	activity: (devboxId) => void activity.push(devboxId),
};

/** A server that plays sshd, one that stands for the edge, and the passthrough between them. */
interface Setup {
	readonly passthrough: Passthrough;
	/** A client's connection for `label`. */
	dial(label: string): Promise<Socket>;
	/** The next connection that "sshd" accepts. */
	accepted(): Promise<Socket>;
	readonly attempts: () => number;
}

beforeEach(() => {
	activity = [];
	audit = listeningAudit();
	boxes.clear();
	boxes.set("dbx-a", running);
	boxes.set("dbx-b", { ...running, devboxId: "dbx_b" });
	awaitRunning = () => Promise.reject(new Error("not to be called"));
});

async function listen(accept: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		socket.on("error", () => {});
		onTestFinished(() => void socket.destroy());
		accept(socket);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	onTestFinished(() => void server.close());
	return { server, port: (server.address() as { port: number }).port };
}

async function setUp(idleTimeoutMs = 15 * MINUTE_MS): Promise<Setup> {
	let attempts = 0;
	const sshd = await listen(() => {});
	const passthrough = new Passthrough({
		directory,
		idleTimeoutMs,
		audit,
		log,
		connect: () => {
			attempts++;
			return connect({ port: sshd.port, host: "127.0.0.1", allowHalfOpen: true });
		},
	});
	onTestFinished(() => passthrough.close({ graceMs: 0 }));
	const labels: string[] = [];
	const edge = await listen((socket) => passthrough.handle(labels.shift()!, socket));
	return {
		passthrough,
		attempts: () => attempts,
		accepted: async () => (await once(sshd.server, "connection"))[0] as Socket,
		dial: async (label) => {
			labels.push(label);
			const client = connect({ port: edge.port, host: "127.0.0.1", allowHalfOpen: true });
			client.on("error", () => {});
			onTestFinished(() => void client.destroy());
			await once(client, "connect");
			return client;
		},
	};
}

async function pair(setup: Setup, label = "dbx-a"): Promise<{ client: Socket; box: Socket }> {
	const [client, box] = await Promise.all([setup.dial(label), setup.accepted()]);
	return { client, box };
}

/** Everything until the other side ends. */
async function readAll(socket: Socket): Promise<Buffer> {
	const chunks: Buffer[] = [];
	for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk);
	return Buffer.concat(chunks);
}

async function say(from: Socket, to: Socket, bytes: string | Buffer): Promise<void> {
	const heard = once(to, "data");
	from.write(bytes);
	await heard;
}

/** Resolves when the socket is gone, whether by an orderly end or a reset. */
function gone(socket: Socket): Promise<unknown> {
	socket.resume();
	if (socket.readableEnded) socket.destroy();
	else socket.once("end", () => socket.destroy());
	return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once("close", resolve));
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

describe("bytes", () => {
	test("50 MB both ways at once arrive whole, with half-closes at each end", async () => {
		const { client, box } = await pair(await setUp());
		const up = randomBytes(50 * MB);
		const down = randomBytes(50 * MB);
		client.end(up);
		box.end(down);
		const [atBox, atClient] = await Promise.all([readAll(box), readAll(client)]);
		expect(sha256(atBox)).toBe(sha256(up));
		expect(sha256(atClient)).toBe(sha256(down));
	});

	test("the box answers after the client has ended its side", async () => {
		const { client, box } = await pair(await setUp());
		client.end("the whole file");
		expect(String(await readAll(box))).toBe("the whole file");
		box.end("got it");
		expect(String(await readAll(client))).toBe("got it");
	});

	test("the client goes on after the box has ended its side", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		box.end("bye");
		expect(String(await readAll(client))).toBe("bye");
		client.end("last words");
		expect(String(await readAll(box))).toBe("last words");
	});

	test("a receiver that does not read stops the sender", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		box.pause();
		let sent = 0;
		const chunk = Buffer.alloc(MB);
		while (client.write(chunk, () => sent++) || client.writableLength < 64 * MB);
		// The kernel's buffers take some; Gangway must not take the rest.
		const before = process.memoryUsage().arrayBuffers;
		await say(box, client, "x");
		await say(box, client, "y");
		expect(sent).toBeLessThan(32);
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MB);
	});

	test("what the client says before the box is connected is not lost", async () => {
		const setup = await setUp();
		boxes.set("dbx-a", { ...running, status: "suspended", address: null, wakes: true });
		let wake: (target: SshTarget) => void = () => {};
		const asked = new Promise<void>((resolve) => {
			awaitRunning = () => {
				resolve();
				return new Promise((running) => {
					wake = running;
				});
			};
		});
		const client = await setup.dial("dbx-a");
		client.write("SSH-2.0-early\r\n");
		await asked;
		expect(setup.passthrough.sessions).toBe(1);
		const accepted = setup.accepted();
		wake(running);
		const [heard] = await once(await accepted, "data");
		expect(String(heard)).toBe("SSH-2.0-early\r\n");
	});
});

describe("refusals say nothing", () => {
	const suspended = { ...running, status: "suspended", address: null };
	test.each<[string, SshTarget | undefined]>([
		["an unknown label", undefined],
		["a suspended box that does not wake", suspended],
		["a box that is shut down", { ...suspended, status: "shutdown", wakes: true }],
		["a failed box", { ...suspended, status: "failure", wakes: true }],
		["a box that cannot wake", { ...suspended, wakes: true }],
		["a running box without an address", { ...running, address: null }],
	])("%s", async (_what, target) => {
		const setup = await setUp();
		if (target) boxes.set("dbx-a", target);
		else boxes.delete("dbx-a");
		const client = await setup.dial("dbx-a");
		expect(await readAll(client).catch(() => Buffer.alloc(0))).toHaveLength(0);
		expect(setup.attempts()).toBe(0);
	});

	test("a directory that fails", async () => {
		const setup = await setUp();
		vi.spyOn(directory, "lookupLabel").mockRejectedValueOnce(new Error("database is gone"));
		await gone(await setup.dial("dbx-a"));
		expect(setup.passthrough.sessions).toBe(0);
	});

	test("a box whose sshd refuses", async () => {
		const { port, server } = await listen(() => {});
		server.close();
		const passthrough = new Passthrough({
			directory,
			idleTimeoutMs: 1000,
			audit,
			log,
			connect: () => connect(port, "127.0.0.1"),
		});
		const edge = await listen((socket) => passthrough.handle("dbx-a", socket));
		await gone(connect(edge.port, "127.0.0.1"));
		expect(passthrough.sessions).toBe(0);
		expect(audit.events).toMatchObject([{ action: "passthrough.session", outcome: "failed", devboxId: "dbx_a" }]);
	});
});

describe("the audit", () => {
	test("is told of a session when it ends: which box, from where, how much", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		await say(client, box, "SSH-2.0-client\r\n");
		await say(box, client, "SSH-2.0-box\r\n");
		expect(audit.events).toEqual([]);
		client.destroy();
		await gone(box);
		await vi.waitFor(() => expect(audit.events).toHaveLength(1));
		expect(audit.events).toEqual([
			{
				action: "passthrough.session",
				outcome: "ok",
				actor: { peerAddress: "127.0.0.1" },
				devboxId: "dbx_a",
				durationMs: expect.any(Number),
				details: { bytes: 29 },
			},
		]);
	});

	test("is told nothing of names that no box has", async () => {
		const setup = await setUp();
		await gone(await setup.dial("dbx-none"));
		expect(setup.passthrough.sessions).toBe(0);
		expect(audit.events).toEqual([]);
	});
});

describe("waking", () => {
	test("a box that is resuming anyway is waited for, without a trigger", async () => {
		const setup = await setUp();
		boxes.set("dbx-a", { ...running, status: "resuming", address: null });
		awaitRunning = async () => running;
		const { client, box } = await pair(setup);
		await say(box, client, "SSH-2.0-x\r\n");
	});

	test("a client that leaves meanwhile is let go", async () => {
		const setup = await setUp();
		boxes.set("dbx-a", { ...running, status: "suspended", address: null, wakes: true });
		const signal = new Promise<AbortSignal>((resolve) => {
			awaitRunning = (_id, signal) => {
				resolve(signal);
				return new Promise((_, reject) => signal.addEventListener("abort", reject));
			};
		});
		const client = await setup.dial("dbx-a");
		const aborted = once(await signal, "abort");
		client.resetAndDestroy();
		await aborted;
		expect(setup.attempts()).toBe(0);
	});
});

describe("idle clocks", () => {
	beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] }));
	afterEach(() => void vi.useRealTimers());

	test("a silent session is cut after the timeout, one with a byte a minute lives, either direction", async () => {
		const setup = await setUp();
		const silent = await pair(setup);
		const chatty = await pair(setup);
		const cut = gone(silent.client);
		for (let minute = 0; minute < 14; minute++) {
			await say(chatty.client, chatty.box, "k");
			vi.advanceTimersByTime(MINUTE_MS);
		}
		expect(setup.passthrough.sessions).toBe(2);
		await say(chatty.box, chatty.client, "k");
		vi.advanceTimersByTime(MINUTE_MS + 2_000);
		await cut;
		await gone(silent.box);
		expect(setup.passthrough.sessions).toBe(1);
		for (let minute = 0; minute < 14; minute++) {
			await say(chatty.box, chatty.client, "k");
			vi.advanceTimersByTime(MINUTE_MS);
		}
		await say(chatty.client, chatty.box, "k");
		expect(activity).toEqual([]);
	});

	test("a session of which one side has ended does not linger", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		box.end("bye");
		await readAll(client);
		vi.advanceTimersByTime(MINUTE_MS - 2_000);
		expect(setup.passthrough.sessions).toBe(1);
		const cut = once(box.resume(), "end");
		vi.advanceTimersByTime(4_000);
		await cut;
		expect(setup.passthrough.sessions).toBe(0);
	});

	test("activity is more than 1 KiB a minute after the login grace", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		await say(client, box, Buffer.alloc(4096));
		vi.advanceTimersByTime(29_000);
		await say(client, box, Buffer.alloc(4096));
		vi.advanceTimersByTime(3 * MINUTE_MS);
		expect(activity).toEqual([]);
		// Keepalives: 100 bytes every ten seconds.
		for (let i = 0; i < 60; i++) {
			await say(client, box, Buffer.alloc(100));
			vi.advanceTimersByTime(10_000);
		}
		expect(activity).toEqual([]);
		await say(client, box, Buffer.alloc(600));
		await say(box, client, Buffer.alloc(600));
		vi.advanceTimersByTime(1_000);
		expect(activity).toEqual(["dbx_a"]);
		vi.advanceTimersByTime(5 * MINUTE_MS);
		expect(activity).toEqual(["dbx_a"]);
	});
});

describe("ending", () => {
	test("drop ends the sessions of one devbox only", async () => {
		const setup = await setUp();
		const a = await pair(setup);
		const b = await pair(setup, "dbx-b");
		setup.passthrough.drop("dbx_a");
		await Promise.all([gone(a.client), gone(a.box)]);
		await say(b.client, b.box, "still here");
		setup.passthrough.drop("dbx_none");
		expect(setup.passthrough.sessions).toBe(1);
	});

	test("drop ends a session that is still waiting for its box", async () => {
		const setup = await setUp();
		boxes.set("dbx-a", { ...running, status: "suspended", address: null, wakes: true });
		const asked = new Promise<void>((resolve) => {
			awaitRunning = () => {
				resolve();
				return new Promise(() => {});
			};
		});
		const client = await setup.dial("dbx-a");
		await asked;
		setup.passthrough.drop("dbx_a");
		await gone(client);
	});

	test("close lets a session finish within the grace time", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		const closed = setup.passthrough.close({ graceMs: 60_000 });
		await gone(await setup.dial("dbx-a"));
		await say(client, box, "nearly done");
		client.end();
		box.end();
		await Promise.all([gone(client), gone(box), closed]);
		await setup.passthrough.close({ graceMs: 0 });
	});

	test("close ends what outlives the grace time", async () => {
		const setup = await setUp();
		const { client, box } = await pair(setup);
		await setup.passthrough.close({ graceMs: 10 });
		await Promise.all([gone(client), gone(box)]);
		expect(setup.passthrough.sessions).toBe(0);
	});
});
