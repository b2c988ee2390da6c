import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { describe, expect, test, vi } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import type { TunnelTarget } from "../devboxes/index.js";
import { createDecide, type DecideOptions } from "./decide.js";
import type { Decision } from "./decision.js";
import {
	app,
	type Door,
	type DoorOptions,
	deferred,
	echo,
	hostOf,
	listen,
	nobody,
	openDoor,
	send,
	sendForText,
	until,
} from "./door.fixture.js";
import { FakeDirectory, headerOf, passes, request, route, target } from "./tunnel.fixture.js";

const asleep = { status: "suspended", address: null, runningSinceMs: null, wakes: true } as const;
const awake = () => ({ status: "running", address: "127.0.0.1", runningSinceMs: Date.now() });
const eventStream = { accept: "text/event-stream" };

/** The start that requests to a sleeping box wait for. */
class Start {
	/** One for each time that it was asked for; aborts when nobody waits any more. */
	readonly signals: AbortSignal[] = [];
	readonly #directory: FakeDirectory;
	readonly #end = deferred<boolean>();

	constructor(directory: FakeDirectory) {
		this.#directory = directory;
		directory.awaitRunning = async (_devboxId, signal) => {
			this.signals.push(signal);
			if (!(await this.#end.promise)) throw new Error("it does not start");
		};
	}

	succeed(change: Partial<TunnelTarget> = {}): void {
		this.#directory.change({ ...awake(), ...change });
		this.#end.resolve(true);
	}

	fail(): void {
		this.#end.resolve(false);
	}

	/** Resolves once a request waits for it. */
	begun(): Promise<void> {
		return until(() => this.signals.length > 0);
	}
}

async function openSleeping(change: Partial<TunnelTarget> = {}, options: DoorOptions = {}) {
	const door = await openDoor({ ...options, target: { ...asleep, wakeMode: "hold", ...change } });
	return { door, start: new Start(door.directory) };
}

function dial(door: Door, port: number): WebSocket {
	return new WebSocket(`ws://127.0.0.1:${door.port}/`, { headers: { host: hostOf(port) } });
}

/** Resolves once the tunnel has been looked up so many times from now on. */
async function looked(door: Door, times: number): Promise<void> {
	const lookups = vi.spyOn(door.directory, "lookup");
	await until(() => lookups.mock.calls.length >= times);
}

/** Resolves once a port has been tried in vain: the tunnel is looked up again before each try. */
const tried = (door: Door) => looked(door, 3);

describe("a request to a sleeping box in hold mode", () => {
	test("is answered by the app once that runs, its body whole", async () => {
		const { door, start } = await openSleeping();
		const body = "x".repeat(2_000_000);
		const answer = sendForText(door, await echo(), { method: "POST", body });
		await start.begun();
		expect(door.directory.active).toEqual([]);
		start.succeed();
		expect(JSON.parse(await answer).body).toBe(body);
	});

	test("is followed by the next one on its connection", async () => {
		const { door, start } = await openSleeping();
		const port = await echo();
		const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
		const answers = ["/first", "/second"].map((path) => sendForText(door, port, { agent, path }));
		await start.begun();
		start.succeed();
		expect((await Promise.all(answers)).map((text) => JSON.parse(text).url)).toEqual(["/first", "/second"]);
		agent.destroy();
	});

	test("that fails to start is 503 at once, with Retry-After", async () => {
		const { door, start } = await openSleeping();
		const answer = send(door, await nobody());
		await start.begun();
		start.fail();
		const { statusCode, headers } = await answer;
		expect([statusCode, headers["retry-after"]]).toEqual([503, "5"]);
	});

	test("that takes too long is 503, with Retry-After, and nothing goes on for it", async () => {
		const { door, start } = await openSleeping({}, { holdMs: 50 });
		const { statusCode, headers } = await send(door, await nobody());
		expect([statusCode, headers["retry-after"]]).toEqual([503, "5"]);
		expect(start.signals[0]!.aborted).toBe(true);
	});

	test("whose client leaves is dropped at once, and with the last one the wait", async () => {
		const { door, start } = await openSleeping();
		const clients = [1, 2].map(() => net.connect(door.port, "127.0.0.1"));
		for (const client of clients) client.write(`GET / HTTP/1.1\r\nHost: ${hostOf(3000)}\r\n\r\n`);
		await looked(door, 2);
		clients[0]!.resetAndDestroy();
		await until(() => door.lines.length === 1);
		expect(start.signals[0]!.aborted).toBe(false);
		clients[1]!.resetAndDestroy();
		await until(() => start.signals[0]!.aborted);
	});

	test("ends with the tunnel", async () => {
		const { door, start } = await openSleeping();
		const client = net.connect(door.port, "127.0.0.1");
		client.write(`GET / HTTP/1.1\r\nHost: ${hostOf(3000)}\r\n\r\n`);
		await start.begun();
		await door.tunnel.close({ graceMs: 0 });
		expect(start.signals[0]!.aborted).toBe(true);
	});

	test.each(["provisioning", "initializing", "resuming", "suspending"])(
		"is held while it is %s too",
		async (status) => {
			const { door, start } = await openSleeping({ status });
			const answer = sendForText(door, await app((_req, res) => res.end("here")));
			await start.begun();
			start.succeed();
			expect(await answer).toBe("here");
		},
	);
});

describe("in retry mode", () => {
	test("a WebSocket is held all the same", async () => {
		const { door, start } = await openSleeping({ wakeMode: "retry" });
		const server = http.createServer();
		new WebSocketServer({ server }).on("connection", (socket) => socket.send("hello"));
		const socket = dial(door, await listen(server));
		await start.begun();
		start.succeed();
		expect(String((await once(socket, "message"))[0])).toBe("hello");
		socket.terminate();
	});

	test("an event stream is held all the same", async () => {
		const { door, start } = await openSleeping({ wakeMode: "retry" });
		const answer = sendForText(door, await app((_req, res) => res.end("data: 1\n\n")), { headers: eventStream });
		await start.begun();
		start.succeed();
		expect(await answer).toBe("data: 1\n\n");
	});

	test("anything else is told to come again", async () => {
		const { door, start } = await openSleeping({ wakeMode: "retry" });
		expect((await send(door, await nobody())).statusCode).toBe(503);
		expect([door.directory.woken, start.signals]).toEqual([["dbx_a"], []]);
	});

	test("a box that HTTP does not wake holds nobody", async () => {
		const { door, start } = await openSleeping({ wakes: false });
		expect((await send(door, await nobody(), { headers: eventStream })).statusCode).toBe(503);
		expect(start.signals).toEqual([]);
	});
});

describe("after a start", () => {
	/** Takes the port that `nobody` had. */
	const serve = (port: number, text: string) =>
		listen(
			http.createServer((_req, res) => res.end(text)),
			port,
		);

	test("a held request waits for its port as well", async () => {
		const door = await openDoor({ target: { ...awake(), wakes: true, wakeMode: "hold" } });
		const port = await nobody();
		const answer = sendForText(door, port);
		await tried(door);
		await serve(port, "late");
		expect(await answer).toBe("late");
	});

	test("not for longer than it may: 503 with Retry-After, and nothing is tried any more", async () => {
		const door = await openDoor({ holdMs: 50, target: { ...awake(), wakes: true, wakeMode: "hold" } });
		const { statusCode, headers } = await send(door, await nobody());
		expect([statusCode, headers["retry-after"]]).toEqual([503, "5"]);
	});

	test("a port that was seen accepting in this run is not looked at again", async () => {
		const door = await openDoor({ target: { ...awake(), wakes: true, wakeMode: "hold" } });
		let connections = 0;
		const server = http.createServer((_req, res) => res.end("here")).on("connection", () => connections++);
		const port = await listen(server);
		await sendForText(door, port);
		const before = connections;
		for (let n = 0; n < 3; n++) await sendForText(door, port);
		expect([before, connections]).toEqual([2, 2]);
	});

	test("long after it, a port that refuses is 502 at once", async () => {
		const runningSinceMs = Date.now() - 30_001;
		const door = await openDoor({ target: { ...awake(), runningSinceMs, wakes: true, wakeMode: "hold" } });
		expect((await send(door, await nobody())).statusCode).toBe(502);
	});

	test("a box that falls asleep again while its port is waited for is waited for again", async () => {
		const door = await openDoor({ target: { ...awake(), wakes: true, wakeMode: "hold" } });
		const start = new Start(door.directory);
		const port = await nobody();
		const answer = sendForText(door, port);
		await tried(door);
		door.directory.change(asleep);
		await start.begun();
		await serve(port, "at last");
		start.succeed();
		expect(await answer).toBe("at last");
	});
});

describe("a request that was held is decided anew", () => {
	const bearer = { authorization: "Bearer s3cret" };
	const secured = { authMode: "authenticated", token: "s3cret" } as const;

	test("a token that was changed meanwhile lets nobody in", async () => {
		const { door, start } = await openSleeping(secured);
		const answer = send(door, await echo(), { headers: bearer });
		await start.begun();
		start.succeed({ token: "another", generation: 2 });
		expect((await answer).statusCode).toBe(401);
	});

	test("a tunnel that was removed meanwhile is no more, also while only its port is waited for", async () => {
		const { door, start } = await openSleeping();
		const answers = [send(door, await echo()), send(door, await nobody())];
		await start.begun();
		door.directory.clear();
		start.succeed();
		expect((await Promise.all(answers)).map(({ statusCode }) => statusCode)).toEqual([404, 404]);

		const running = await openDoor({ target: { ...awake(), wakes: true, wakeMode: "hold" } });
		const answer = send(running, await nobody());
		await tried(running);
		running.directory.clear();
		expect((await answer).statusCode).toBe(404);
	});

	test("a stranger is not held", async () => {
		const { door, start } = await openSleeping(secured);
		expect((await send(door, await nobody(), { headers: eventStream })).statusCode).toBe(401);
		expect([door.directory.woken, start.signals]).toEqual([[], []]);
	});

	test("a CORS preflight is neither held nor wakes", async () => {
		const { door, start } = await openSleeping({ ...secured, corsOrigins: ["https://app.example"] });
		const headers = { origin: "https://app.example", "access-control-request-method": "POST" };
		expect((await send(door, await nobody(), { method: "OPTIONS", headers })).statusCode).toBe(204);
		expect([door.directory.woken, start.signals]).toEqual([[], []]);
	});
});

describe("500 at once", () => {
	function setUp(change: Partial<TunnelTarget>, options: Partial<DecideOptions> = {}) {
		const directory = new FakeDirectory(target({ wakes: true, wakeMode: "hold", ...change }));
		const decide = createDecide({ ...options, directory, route, passes });
		const decisions = (port: number) =>
			Array.from({ length: 500 }, async () => decide(request({ authority: hostOf(port) })));
		return { directory, decisions };
	}

	const kinds = (decisions: readonly Decision[]) => new Set(decisions.map(({ kind }) => kind));

	test("start one start, and probe once for their port", async () => {
		const { directory, decisions } = setUp(asleep);
		const start = new Start(directory);
		let connections = 0;
		const port = await listen(net.createServer(() => connections++));
		const made = decisions(port);
		await start.begun();
		start.succeed();
		expect(kinds(await Promise.all(made))).toEqual(new Set(["proxy"]));
		expect([start.signals.length, connections]).toEqual([1, 1]);
	});

	test("are more than may wait: the rest is 503", async () => {
		const { directory, decisions } = setUp(asleep, { maxWaiters: 100 });
		const start = new Start(directory);
		const port = await listen(net.createServer());
		const made = decisions(port);
		await start.begun();
		start.succeed();
		const refused = (await Promise.all(made)).filter((decision) => decision.kind === "respond");
		expect(refused).toHaveLength(400);
		expect(new Set(refused.map((local) => `${local.status} ${headerOf(local, "retry-after")}`))).toEqual(
			new Set(["503 5"]),
		);
	});
});
