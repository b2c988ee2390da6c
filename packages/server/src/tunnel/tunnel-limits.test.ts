import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { describe, expect, onTestFinished, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import {
	app,
	bytes,
	type Door,
	type DoorOptions,
	hostOf,
	listen,
	nobody,
	openDoor,
	send,
	sendForText,
	until,
} from "./door.fixture.js";
import { Limiter, type RequestLimits } from "./limits.js";

const secured = { authMode: "authenticated", token: "s3cret" } as const;
const right = { authorization: "Bearer s3cret" };
const wrong = { authorization: "Bearer guess" };

/** Time stands still for the limits. */
async function openLimited(limits: Partial<RequestLimits>, options: DoorOptions = {}) {
	const limiter = new Limiter(limits, () => 0);
	return { limiter, door: await openDoor({ ...options, limiter }) };
}

/** An app that answers when it is told to. */
async function slowApp() {
	const waiting: http.ServerResponse[] = [];
	const port = await app((_req, res) => waiting.push(res));
	return { port, waiting };
}

async function statusOf(door: Door, port: number, headers: http.OutgoingHttpHeaders = {}): Promise<number | undefined> {
	const response = await send(door, port, { headers });
	response.resume();
	return response.statusCode;
}

const hello = () => app((_req, res) => res.end("hello"));

describe("a request over the limit", () => {
	test("gets 429 with Retry-After, and the next one after an end gets in", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 1 });
		const { port, waiting } = await slowApp();
		const first = sendForText(door, port);
		await until(() => waiting.length === 1);

		const refused = await send(door, port, { headers: { accept: "application/json" } });
		expect(refused.statusCode).toBe(429);
		expect(refused.headers["retry-after"]).toBe("5");
		expect(JSON.parse(String(await bytes(refused)))).toMatchObject({ error: { code: "too_many_requests" } });
		const page = await send(door, port, { headers: { accept: "text/html" } });
		expect([page.statusCode, page.headers["content-type"]]).toEqual([429, "text/html; charset=utf-8"]);
		page.resume();

		waiting[0]!.end("done");
		expect(await first).toBe("done");
		await until(() => limiter.underWay === 0);
		const next = sendForText(door, port);
		await until(() => waiting.length === 2);
		waiting[1]!.end("again");
		expect(await next).toBe("again");
		expect(limiter.refused.address_requests).toBe(2);
	});

	test("wakes no devbox and keeps none awake", async () => {
		const asleep = { ...secured, status: "suspended", address: null, wakes: true };
		const { door } = await openLimited({ addressRate: 1 }, { target: asleep });
		for (let i = 0; i < 10; i++) expect(await statusOf(door, 80, wrong)).toBe(401);
		expect(await statusOf(door, 80, right)).toBe(429);
		expect(door.directory.woken).toEqual([]);
		expect(door.directory.active).toEqual([]);
	});

	test("of a tunnel wakes its devbox no more either", async () => {
		const asleep = { status: "suspended", address: null, wakes: true };
		const { door } = await openLimited({ tunnelRate: 1 }, { target: asleep });
		for (let i = 0; i < 10; i++) expect(await statusOf(door, 80)).toBe(503);
		const before = door.directory.woken.length;
		expect(await statusOf(door, 80)).toBe(429);
		expect(door.directory.woken).toHaveLength(before);
	});

	test("of the tunnel's own gets 429, whoever sends it", async () => {
		const { door } = await openLimited({ tunnelRequests: 1 }, { trustedProxies: ["127.0.0.1"] });
		const { port, waiting } = await slowApp();
		const first = sendForText(door, port, { headers: { "x-forwarded-for": "192.0.2.1" } });
		await until(() => waiting.length === 1);
		expect(await statusOf(door, port, { "x-forwarded-for": "192.0.2.2" })).toBe(429);
		waiting[0]!.end("done");
		expect(await first).toBe("done");
	});
});

describe("what holds a place gives it back", () => {
	test("when its client goes away, before or in the middle of the response", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 2, tunnelRequests: 2 });
		const { port, waiting } = await slowApp();
		const unanswered = http.get({ host: "127.0.0.1", port: door.port, headers: { host: hostOf(port) }, agent: false });
		unanswered.on("error", () => {});
		await until(() => waiting.length === 1);
		const answering = send(door, port);
		await until(() => waiting.length === 2);
		waiting[1]!.write("the beginning");
		const response = await answering;
		response.on("error", () => {});
		expect(limiter.underWay).toBe(2);
		unanswered.destroy();
		response.destroy();
		await until(() => limiter.underWay === 0);
	});

	test("when its client goes away while it is held for a devbox that wakes", async () => {
		const asleep = { status: "suspended", address: null, wakes: true, wakeMode: "hold" } as const;
		const { door, limiter } = await openLimited({ addressRequests: 1, tunnelRequests: 1 }, { target: asleep });
		const held = http.get({ host: "127.0.0.1", port: door.port, headers: { host: hostOf(80) }, agent: false });
		held.on("error", () => {});
		await until(() => limiter.underWay === 2);
		expect(await statusOf(door, 80)).toBe(429);
		// Not merely its end: that may be half of the connection only.
		held.socket?.resetAndDestroy();
		await until(() => limiter.underWay === 0);
	});

	test("when nothing listens", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 1, tunnelRequests: 1 });
		const port = await nobody();
		for (let i = 0; i < 3; i++) {
			expect(await statusOf(door, port)).toBe(502);
			await until(() => limiter.underWay === 0);
		}
	});

	test("when the tunnel does not let it in, or there is none", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 1, tunnelRequests: 1 }, { target: secured });
		for (let i = 0; i < 3; i++) expect(await statusOf(door, 80)).toBe(401);
		for (let i = 0; i < 3; i++) expect(await statusOf(door, 80, { host: "80-keyb.tunnel.test" })).toBe(404);
		for (let i = 0; i < 3; i++) expect(await statusOf(door, 22, right)).toBe(403);
		expect(limiter.underWay).toBe(0);
	});

	test("when a WebSocket closes, and not before", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 1, tunnelRequests: 1 });
		const server = http.createServer((_req, res) => res.end("hello"));
		new WebSocketServer({ server });
		const port = await listen(server);
		const socket = new WebSocket(`ws://127.0.0.1:${door.port}/`, { headers: { host: hostOf(port) } });
		await once(socket, "open");
		expect(await statusOf(door, port)).toBe(429);
		socket.close();
		await until(() => limiter.underWay === 0);
		expect(await sendForText(door, port)).toBe("hello");
	});

	test("when an HTTP/2 stream is cancelled", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 1, tunnelRequests: 1 }, { http2: true });
		const { port, waiting } = await slowApp();
		const session = http2.connect(`http://127.0.0.1:${door.port}`);
		onTestFinished(() => session.destroy());
		const open = () => session.request({ ":authority": hostOf(port) });
		const first = open();
		await until(() => waiting.length === 1);
		const [head] = (await once(open(), "response")) as [http2.IncomingHttpStatusHeader];
		expect(head[":status"]).toBe(429);
		first.close(http2.constants.NGHTTP2_CANCEL);
		await until(() => limiter.underWay === 0);
	});

	test("when the devbox is dropped", async () => {
		const { door, limiter } = await openLimited({ addressRequests: 1, tunnelRequests: 1 });
		const { port, waiting } = await slowApp();
		const first = send(door, port);
		await until(() => waiting.length === 1);
		door.tunnel.drop("dbx_a");
		(await first).resume();
		await until(() => limiter.underWay === 0);
	});
});

test("guesses of a token count against the address's rate", async () => {
	const limits = { addressRate: 1, tunnelRate: 1 };
	const { door } = await openLimited(limits, { target: secured, trustedProxies: ["127.0.0.1"] });
	const port = await hello();
	const guess = () => statusOf(door, port, { ...wrong, "x-forwarded-for": "192.0.2.1" });
	for (let i = 0; i < 10; i++) expect(await guess()).toBe(401);
	expect(await guess()).toBe(429);
	expect(await statusOf(door, port, { ...right, "x-forwarded-for": "192.0.2.1" })).toBe(429);
});

test("strangers cannot use up what a private tunnel is allowed", async () => {
	const { door } = await openLimited({ tunnelRate: 1 }, { target: secured });
	const port = await hello();
	for (let i = 0; i < 20; i++) expect(await statusOf(door, port, wrong)).toBe(401);
	for (let i = 0; i < 10; i++) expect(await statusOf(door, port, right)).toBe(200);
	expect(await statusOf(door, port, right)).toBe(429);
});

test("the clients of a trusted proxy are counted each, the proxy itself is not", async () => {
	const { door } = await openLimited({ addressRequests: 1 }, { trustedProxies: ["127.0.0.1"] });
	const { port, waiting } = await slowApp();
	const from = (client?: string) => statusOf(door, port, client === undefined ? {} : { "x-forwarded-for": client });
	const passing = [
		from("192.0.2.1"),
		from("192.0.2.2"),
		from("2001:db8:0:1::1"),
		from("2001:db8:0:2::1"),
		from(),
		from(),
	];
	await until(() => waiting.length === passing.length);
	// The address that the proxy vouches for counts, not what its client wrote to the left of it.
	expect(await from("192.0.2.99, 192.0.2.1")).toBe(429);
	expect(await from("2001:db8:0:1:ffff::2")).toBe(429);
	for (const response of waiting) response.end();
	expect(await Promise.all(passing)).toEqual(passing.map(() => 200));
});

test("what a client that is no trusted proxy claims about itself is not believed", async () => {
	const { door } = await openLimited({ addressRate: 1 });
	const port = await hello();
	const statuses = [];
	for (let i = 0; i < 12; i++) statuses.push(await statusOf(door, port, { "x-forwarded-for": `192.0.2.${i}` }));
	expect(statuses.filter((status) => status === 200)).toHaveLength(10);
});
