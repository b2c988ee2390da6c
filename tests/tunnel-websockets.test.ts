/** WebSockets through a tunnel: nothing of them is the tunnel's, so all of it must arrive as it was sent. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let open: Door;
let secured: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	[open, secured] = await Promise.all([
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open" } })),
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } })),
	]);
});
afterAll(() => daemon?.remove());

async function connect(url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<WebSocket> {
	const socket = new WebSocket(url.replace("http", "ws"), protocols, { lookup, ...options } as ClientOptions);
	await once(socket, "open");
	return socket;
}

/** The answer to a message. */
async function ask(socket: WebSocket, message: string | Buffer): Promise<[data: Buffer, isBinary: boolean]> {
	const answer = once(socket, "message");
	socket.send(message);
	return (await answer) as [Buffer, boolean];
}

describe.each<[string, () => [string, ClientOptions]]>([
	["plain HTTP", () => [open.url("/"), {}]],
	["TLS", () => [open.secureUrl("/"), { rejectUnauthorized: false }]],
])("over %s", (_, target) => {
	let socket: WebSocket;
	beforeAll(async () => {
		const [url, options] = target();
		socket = await connect(url, ["chat.v1", "chat.v2"], options);
	});
	afterAll(() => socket?.terminate());

	test("the box chooses the subprotocol and the compression", () => {
		expect(socket.protocol).toBe("chat.v2");
		expect(socket.extensions).toContain("permessage-deflate");
	});

	test("text stays text, and binary binary", async () => {
		const [text, isBinary] = await ask(socket, "grüße");
		expect([String(text), isBinary]).toEqual(["grüße", false]);
		const [bytes, backIsBinary] = await ask(socket, Buffer.from([0, 255, 10]));
		expect([[...bytes], backIsBinary]).toEqual([[0, 255, 10], true]);
	});

	test.each<[string, ClientOptions]>([
		["compressed", {}],
		["as they are", { perMessageDeflate: false }],
	])("frames of 16 MB both ways, %s", async (_, deflate) => {
		const [url, options] = target();
		const own = await connect(url, [], { ...options, ...deflate });
		const frame = randomBytes(16 * 2 ** 20);
		const [back] = await ask(own, frame);
		expect(frame.equals(back)).toBe(true);
		own.terminate();
	});

	test("pings of either side come to the other, with what they carry", async () => {
		const pong = once(socket, "pong");
		socket.ping("of the client");
		expect(String((await pong)[0])).toBe("of the client");
		const ping = once(socket, "ping");
		const [answer] = await ask(socket, "ping");
		expect(String((await ping)[0])).toBe("of the box");
		expect(String(answer)).toBe("pong of the box");
	});

	test.each([1000, 1011, 3000, 4001])("the box closes with %i and a reason", async (code) => {
		const [url, options] = target();
		const own = await connect(url, [], options);
		const closed = once(own, "close");
		own.send(`close ${code} enough`);
		const [seen, reason] = await closed;
		expect([seen, String(reason)]).toEqual([code, "enough"]);
	});

	test.each([1000, 4002])("the client closes with %i and a reason", async (code) => {
		const [url, options] = target();
		const own = await connect(url, [], options);
		const reason = `of ${_}`;
		own.close(code, reason);
		await once(own, "close");
		await until("the box has seen it", async () =>
			JSON.parse((await curl(open.url("/closes"))).text).includes(`${code} ${reason}`),
		);
	});
});

test("an authenticated tunnel needs its token, which the box does not see", async () => {
	await expect(connect(secured.url("/"))).rejects.toThrow("401");
	const headers = { "X-Runloop-Tunnel-Authorization": `Bearer ${secured.token}` };
	const socket = new WebSocket(secured.url("/headers").replace("http", "ws"), { lookup, headers } as ClientOptions);
	const [seen] = await once(socket, "message");
	expect(JSON.parse(String(seen))).not.toHaveProperty("x-runloop-tunnel-authorization");
	socket.terminate();
});

test("a box that refuses the upgrade is heard", async () => {
	await expect(connect(open.url("/refuse"))).rejects.toThrow("418");
});

test("they end when the box is suspended", async () => {
	const door = await Door.of(daemon, withWebServer({ tunnel: {} }));
	const socket = await connect(door.url("/"));
	const closed = once(socket, "close");
	await door.suspend();
	await closed;
	await door.shutdown();
});
