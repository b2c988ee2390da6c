import { once } from "node:events";
import { text } from "node:stream/consumers";
import type { Client, ClientChannel } from "ssh2";
import { afterEach, describe, expect, test, vi } from "vitest";
import { EarlySession } from "./early-session.js";
import { devboxId, farewell, readAll, strangersKey, World } from "./gateway.fixture.js";

afterEach(() => void vi.useRealTimers());

function exec(client: Client, command: string): Promise<ClientChannel> {
	return new Promise((resolve, reject) => {
		client.exec(command, (error, channel) => (error ? reject(error) : resolve(channel)));
	});
}

async function run(client: Client, command: string) {
	const channel = await exec(client, command);
	const closed = once(channel, "close");
	const [stdout, stderr] = await Promise.all([text(channel), text(channel.stderr)]);
	const [code, signal] = await closed;
	return { stdout, stderr, code, signal };
}

describe("logging in", () => {
	test("by key and devbox, as the box's own user", async () => {
		const world = await World.start();
		expect(await run(await world.logIn(), "echo $USER")).toMatchObject({ stdout: "root\n", code: 0 });
		expect(await run(await world.logIn({ username: `${devboxId}+main` }), "echo in")).toMatchObject({ code: 0 });
	});

	test.each([
		["another key", { privateKey: strangersKey }, {}, "unknown_key"],
		["another devbox", { username: devboxId.replace("00", "01") }, {}, "unknown_devbox"],
		["a part of it that does not exist", { username: `${devboxId}+other` }, {}, "malformed_username"],
		["a viewer", {}, { role: "viewer" as const }, "role_may_not_enter"],
		["somebody of another team", {}, { role: undefined }, "not_a_member"],
	])("%s is refused, after all questions were asked", async (_, options, change, reason) => {
		const world = Object.assign(await World.start(), change);
		await expect(world.logIn(options)).rejects.toThrow();
		expect(world.roleIn).toHaveBeenCalledOnce();
		await vi.waitFor(() => expect(world.audit.events).toHaveLength(1));
		expect(world.audit.events[0]).toMatchObject({ action: "ssh.denied", details: { reasons: [reason] } });
	});

	test("a password is refused, and the only method that is offered is the key", async () => {
		const world = await World.start();
		const offered: unknown[] = [];
		const options = {
			privateKey: undefined,
			authHandler: (left: unknown, _: unknown, next: (method: string | false) => void) => {
				offered.push(left);
				next(offered.length === 1 ? "none" : offered.length === 2 ? "password" : false);
			},
			password: "secret",
		};
		await expect(world.logIn(options as object)).rejects.toThrow();
		expect(offered).toEqual([null, ["publickey"], ["publickey"]]);
	});

	test("nothing of the connection protocol gets through before it", async () => {
		const world = await World.start();
		world.role = "viewer";
		const client = world.logIn({ authHandler: () => false } as object);
		await expect(client).rejects.toThrow();
		expect(world.sshd.connections()).toBe(0);
	});

	test("when the registers cannot be asked, nobody gets in", async () => {
		const world = await World.start();
		world.roleIn.mockRejectedValue(new Error("the store is away"));
		await expect(world.logIn()).rejects.toThrow();
	});
});

describe("what is asked again", () => {
	test("every new channel: who may not any more loses the connection", async () => {
		const world = await World.start();
		const client = await world.logIn();
		await run(client, "true");
		world.owner = undefined;
		const said = farewell(client);
		exec(client, "true").catch(() => {});
		expect(await said).toBe("access to this devbox was withdrawn");
	});

	test("everybody, every few seconds, also where no event told", async () => {
		vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
		const world = await World.start();
		const client = await world.logIn();
		await run(client, "true");
		const said = farewell(client);
		world.role = "viewer";
		vi.advanceTimersByTime(5_000);
		expect(await said).toBe("access to this devbox was withdrawn");
	});

	test("one user, when told: others' connections go on", async () => {
		const world = await World.start();
		const client = await world.logIn();
		world.gateway.recheck("usr_other");
		expect(await run(client, "echo on")).toMatchObject({ stdout: "on\n" });
		const said = farewell(client);
		world.role = undefined;
		world.gateway.recheck("usr_a");
		expect(await said).toBe("access to this devbox was withdrawn");
	});

	test("a key that was deleted and is somebody else's now keeps nobody in", async () => {
		const world = await World.start();
		const said = farewell(await world.logIn());
		world.owner = { ...world.owner!, sshKeyId: "sshk_b", userId: "usr_b" };
		world.gateway.recheck("usr_a");
		expect(await said).toBe("access to this devbox was withdrawn");
	});
});

describe("relaying", () => {
	test("how a program ended that a signal ended", async () => {
		const client = await (await World.start()).logIn();
		expect(await run(client, "kill -TERM $$")).toMatchObject({ code: null, signal: "SIGTERM" });
	});

	test("no-more-sessions right behind the only session does not overtake it", async () => {
		const client = await (await World.start()).logIn();
		const channel = exec(client, "echo one");
		client.openssh_noMoreSessions(() => {});
		expect(await text(await channel)).toBe("one\n");
		await expect(exec(client, "echo two")).rejects.toThrow();
	});

	test("data is activity, a keepalive is not", async () => {
		const world = await World.start();
		const client = await world.logIn();
		const channel = await exec(client, "cat");
		await new Promise((resolve) => client.openssh_noMoreSessions(resolve));
		expect(world.activity).not.toHaveBeenCalled();
		channel.end("x");
		expect(await text(channel)).toBe("x");
		expect(world.activity).toHaveBeenCalledWith(devboxId);
	});

	test("a client that reads nothing stops the box, and not the gateway's memory", async () => {
		const world = await World.start();
		const socket = world.dial();
		const client = await world.logIn({ sock: socket } as object);
		const channel = await exec(client, "head -c 300000000 /dev/zero");
		await once(channel, "data");
		socket.pause();
		const before = process.memoryUsage().rss;
		await run(await world.logIn(), "sleep 0.5");
		expect(process.memoryUsage().rss - before).toBeLessThan(60_000_000);
		socket.resume();
		let bytes = 0;
		channel.on("data", (chunk: Buffer) => {
			bytes += chunk.length;
		});
		await once(channel, "close");
		expect(bytes).toBeGreaterThan(250_000_000);
	});

	test("a box whose sshd is gone ends the client's connection with the reason", async () => {
		const world = await World.start();
		const client = await world.logIn();
		await run(client, "true");
		const said = farewell(client);
		world.sshd.kill();
		expect(await said).toBe("the connection to the devbox was lost");
	});

	test("a box whose sshd does not let us in: whatever is asked for is refused with the reason", async () => {
		const world = await World.start({ connect: () => world.dial().destroy() });
		const client = await world.logIn();
		const forward = new Promise((resolve) => client.forwardOut("", 0, "127.0.0.1", 1, resolve));
		expect(String(await forward)).toContain("gateway: the devbox could not be reached");
	});
});

describe("a sleeping box", () => {
	test("is told of at once, and the line does not count against what the box may send", async () => {
		const world = await World.start();
		world.devbox = { teamId: "team_a", status: "suspended", resumes: true };
		let wake = () => {};
		world.awaitRunning = () =>
			new Promise((resolve) => {
				wake = () => resolve(undefined);
			});
		const client = await world.logIn();
		const channel = exec(client, "head -c 5000000 /dev/zero");
		await vi.waitFor(() =>
			expect(client).toHaveProperty(["_chanMgr", "_channels", "0", "outgoing", "id"], EarlySession.id),
		);
		wake();
		const awake = await channel;
		const [stdout, stderr] = await Promise.all([text(awake), text(awake.stderr)]);
		expect([stdout.length, stderr]).toEqual([5_000_000, "gateway: resuming the devbox...\r\n"]);
		// Sessions that come later are as any other.
		expect(await run(client, "echo out; echo err >&2")).toMatchObject({ stdout: "out\n", stderr: "err\n", code: 0 });
	});

	test("is not woken by somebody who may not enter", async () => {
		const world = await World.start();
		world.devbox = { teamId: "team_a", status: "suspended", resumes: true };
		world.awaitRunning = vi.fn();
		world.role = "viewer";
		await expect(world.logIn()).rejects.toThrow();
		expect(world.awaitRunning).not.toHaveBeenCalled();
	});

	test("is not waited for by a client that is gone", async () => {
		const world = await World.start();
		world.devbox = { teamId: "team_a", status: "suspended", resumes: true };
		const asked = new Promise<AbortSignal>((resolve) => {
			world.awaitRunning = (_, signal) => {
				resolve(signal);
				return new Promise(() => {});
			};
		});
		const client = await world.logIn();
		const signal = await asked;
		client.destroy();
		await once(signal, "abort");
	});
});

describe("limits", () => {
	const none = { addressRate: 0, addressFailures: 0, userConnections: 0, connectionSessions: 0 };

	test("sessions of a connection; an ended one makes room", async () => {
		const world = await World.start({ limits: { ...none, connectionSessions: 2 } });
		const client = await world.logIn();
		const [first] = await Promise.all([exec(client, "cat"), exec(client, "cat")]);
		await expect(exec(client, "true")).rejects.toThrow("too many sessions on this connection");
		const closed = once(first!.resume(), "close");
		first!.end();
		await closed;
		expect(await run(client, "echo room")).toMatchObject({ stdout: "room\n" });
	});

	test("connections of a user; an ended one makes room", async () => {
		const world = await World.start({ limits: { ...none, userConnections: 1 } });
		const first = await world.logIn();
		await run(first, "true");
		expect(await farewell(await world.logIn())).toBe("too many connections of this user");
		first.end();
		await vi.waitFor(async () => expect(world.gateway.connections).toBe(0));
		expect(await run(await world.logIn(), "echo room")).toMatchObject({ stdout: "room\n" });
	});

	test("connections of an address per second: the client is told in words", async () => {
		const world = await World.start({ limits: { ...none, addressRate: 0.1 } });
		await world.logIn();
		const said = String(await readAll(world.dial()));
		expect(said).toMatch(/^SSH-2\.0-Gangway\r\n.*too many connections, try again later/s);
	});

	test("failed logins of an address; good ones do not count", async () => {
		const world = await World.start({ limits: { ...none, addressFailures: 2 } });
		for (let n = 0; n < 5; n++) await run(await world.logIn(), "true");
		const denied = () => world.audit.events.filter(({ action }) => action === "ssh.denied").length;
		for (let n = 1; n <= 2; n++) {
			await expect(world.logIn({ privateKey: strangersKey })).rejects.toThrow();
			await vi.waitFor(() => expect(denied()).toBe(n));
		}
		expect(String(await readAll(world.dial()))).toContain("too many failed logins, try again later");
	});

	test("who does not log in within the grace time is cut off", async () => {
		const world = await World.start({ loginGraceMs: 50 });
		await Promise.all([readAll(world.dial()), world.dial().end("SSH-2.0-slow\r\n")].map((one) => one));
		await vi.waitFor(() => expect(world.gateway.connections).toBe(0));
	});

	test("who is silent for too long is cut off with the reason; a keepalive is a byte", async () => {
		vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
		const world = await World.start({ idleTimeoutMs: 60_000 });
		const client = await world.logIn();
		const channel = await exec(client, "cat");
		for (let n = 0; n < 5; n++) {
			await vi.advanceTimersByTimeAsync(40_000);
			await new Promise((resolve) => client.openssh_noMoreSessions(resolve));
		}
		const said = farewell(client);
		channel.resume();
		await vi.advanceTimersByTimeAsync(62_000);
		expect(await said).toBe("idle for too long");
	});
});

describe("closing", () => {
	test("lets a session end by itself within the grace time, and takes no new one", async () => {
		const world = await World.start();
		const client = await world.logIn();
		const channel = await exec(client, "cat");
		const closed = world.gateway.close({ graceMs: 60_000 });
		expect(String(await readAll(world.dial()))).toBe("");
		channel.end("last");
		expect(await text(channel)).toBe("last");
		client.end();
		await closed;
	});

	test("cuts what outlives it, with the reason", async () => {
		const world = await World.start();
		const client = await world.logIn();
		await exec(client, "cat");
		const said = farewell(client);
		await world.gateway.close({ graceMs: 1 });
		expect(await said).toBe("the gateway is stopping");
	});
});
