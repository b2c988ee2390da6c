import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { describe, expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import { type Door, deferred, echo, hostOf, listen, nobody, openDoor, sendRaw, until } from "./door.fixture.js";

const secured = { authMode: "authenticated", token: "s3cret" } as const;

async function webSocketApp(handler: (socket: WebSocket, req: http.IncomingMessage) => void): Promise<number> {
	const server = http.createServer();
	const sockets = new WebSocketServer({ server, maxPayload: 32 << 20, perMessageDeflate: true });
	sockets.on("connection", handler);
	return listen(server);
}

const echoing = () => webSocketApp((socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));

function dial(door: Door, port: number, protocols: string[] = [], headers: Record<string, string> = {}): WebSocket {
	return new WebSocket(`ws://127.0.0.1:${door.port}/ws?token=hunter2`, protocols, {
		headers: { host: hostOf(port), ...headers },
	});
}

const upgradeOf = (port: number, protocol: string, more = "") =>
	`GET /up HTTP/1.1\r\nHost: ${hostOf(port)}\r\nConnection: Upgrade, close${more}\r\nUpgrade: ${protocol}\r\n\r\n`;

describe("a WebSocket", () => {
	test("carries text, and 16 MB", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		socket.send("grüße");
		const [text, binary] = await once(socket, "message");
		expect([String(text), binary]).toEqual(["grüße", false]);
		const sent = randomBytes(16 << 20);
		socket.send(sent);
		expect(sent.equals((await once(socket, "message"))[0] as Buffer)).toBe(true);
		socket.close();
	});

	test("negotiates its subprotocol and compression with the app", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing(), ["chat.v2", "chat.v1"]);
		await once(socket, "open");
		expect([socket.protocol, socket.extensions]).toEqual(["chat.v2", expect.stringContaining("permessage-deflate")]);
		socket.close();
	});

	test("keeps close codes and reasons, the app's and the client's", async () => {
		const door = await openDoor();
		const closed = deferred<[number, string]>();
		const port = await webSocketApp((socket) => {
			socket.on("message", () => socket.close(4321, "because"));
			socket.on("close", (code, why) => closed.resolve([code, String(why)]));
		});
		const byApp = dial(door, port);
		await once(byApp, "open");
		byApp.send("x");
		const [code, reason] = await once(byApp, "close");
		expect([code, String(reason)]).toEqual([4321, "because"]);
		await closed.promise;

		const heard = deferred<[number, string]>();
		const other = await webSocketApp((socket) => socket.on("close", (why, text) => heard.resolve([why, String(text)])));
		const byClient = dial(door, other);
		await once(byClient, "open");
		byClient.close(3456, "done");
		expect(await heard.promise).toEqual([3456, "done"]);
	});

	test("shows the app the client's address, and the client the request's id", async () => {
		const door = await openDoor();
		const seen = deferred<http.IncomingHttpHeaders>();
		const socket = dial(door, await webSocketApp((_socket, req) => seen.resolve(req.headers)));
		const [response] = (await once(socket, "upgrade")) as [http.IncomingMessage];
		const headers = await seen.promise;
		expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
		expect(headers["x-runloop-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
		expect(headers["x-runloop-request-id"]).toBe(response.headers["x-runloop-request-id"]);
		socket.terminate();
	});

	test("without the token is 401 and does not reach the app; with it the app does not see it", async () => {
		const door = await openDoor({ target: secured });
		const seen: http.IncomingHttpHeaders[] = [];
		const port = await webSocketApp((_socket, req) => void seen.push(req.headers));
		const [error] = await once(dial(door, port), "error").catch((reason: Error) => [reason]);
		expect(String(error)).toContain("401");
		expect(seen).toEqual([]);
		const socket = dial(door, port, [], { authorization: "Bearer s3cret" });
		await once(socket, "open");
		expect(JSON.stringify(seen)).not.toContain("s3cret");
		socket.terminate();
	});

	test("ends when its devbox is dropped; it is counted while it lives and logged when it ends", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		socket.send("x");
		await once(socket, "message");
		expect(door.tunnel.counts).toMatchObject({ live: { request: 0, upgrade: 1 }, upgrades: 0, upstreams: 1 });
		const closed = once(socket, "close");
		door.tunnel.drop("dbx_a");
		expect((await closed)[0]).toBe(1006);
		await until(() => door.lines.length > 0);
		expect(door.tunnel.counts).toMatchObject({ live: { request: 0, upgrade: 0 }, upgrades: 1, upstreams: 0 });
		expect(door.lines).toMatchObject([{ status: 101, devboxId: "dbx_a", outcome: "aborted" }]);
		expect(JSON.stringify(door.lines)).not.toContain("hunter2");
	});

	test("that is cut at the client's side is cut at the app's", async () => {
		const door = await openDoor();
		const closed = deferred<number>();
		const port = await webSocketApp((socket) => socket.on("close", (code) => closed.resolve(code)));
		const socket = dial(door, port);
		await once(socket, "open");
		socket.terminate();
		expect(await closed.promise).toBe(1006);
	});

	test("counts as activity while bytes flow, and not while it is silent", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		const before = door.directory.active.length;
		socket.send("x");
		await once(socket, "message");
		const after = door.directory.active.length;
		expect(after).toBeGreaterThan(before);
		for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
		expect(door.directory.active).toHaveLength(after);
		socket.terminate();
	});
});

describe("an upgrade that does not happen", () => {
	test("is 502 when nothing listens", async () => {
		const door = await openDoor();
		expect(await sendRaw(door, upgradeOf(await nobody(), "websocket"))).toMatch(/^HTTP\/1\.1 502 /);
	});

	test.each(["h2c", "H2C", "foo, h2c", "h2c, websocket", "h2c\r\nUpgrade: h2c"])(
		"to %j is a plain request: no way past the tunnel",
		async (protocol) => {
			const door = await openDoor();
			const response = await sendRaw(door, upgradeOf(await echo(), protocol, ", HTTP2-Settings\r\nHTTP2-Settings: x"));
			expect(response).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
			expect(response).not.toMatch(/h2c|http2-settings|"upgrade"/i);
		},
	);
});
