import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import net, { type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import {
	bytes,
	type Door,
	deferred,
	echo,
	hostOf,
	listen,
	openDoor,
	rawApp,
	sendRaw,
	until,
} from "./transport.fixture.js";

async function webSocketApp(handler: (socket: WebSocket, req: http.IncomingMessage) => void): Promise<number> {
	const server = http.createServer();
	const sockets = new WebSocketServer({ server, maxPayload: 32 << 20, perMessageDeflate: true });
	sockets.on("connection", handler);
	return listen(server);
}

/** Unlike an iterator, leaves the other direction open. */
async function untilEnd(socket: Socket): Promise<string> {
	let text = "";
	socket.on("data", (chunk) => {
		text += chunk;
	});
	await once(socket, "end");
	return text;
}

const echoing = () => webSocketApp((socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));

function dial(door: Door, port: number, protocols: string[] = [], headers: Record<string, string> = {}): WebSocket {
	return new WebSocket(`ws://127.0.0.1:${door.port}/ws`, protocols, { headers: { host: hostOf(port), ...headers } });
}

const upgradeOf = (port: number, protocol: string, more = "") =>
	`GET /up HTTP/1.1\r\nHost: ${hostOf(port)}\r\nConnection: Upgrade${more}\r\nUpgrade: ${protocol}\r\n\r\n`;

describe("a WebSocket", () => {
	test("carries text", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		socket.send("grüße");
		const [data, binary] = await once(socket, "message");
		expect([String(data), binary]).toEqual(["grüße", false]);
		socket.close();
	});

	test("carries a binary message of 16 MB", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		const sent = randomBytes(16 << 20);
		socket.send(sent);
		const [data] = await once(socket, "message");
		expect(sent.equals(data as Buffer)).toBe(true);
		socket.close();
	});

	test("keeps the app's close code and reason", async () => {
		const door = await openDoor();
		const port = await webSocketApp((socket) => socket.on("message", () => socket.close(4321, "because")));
		const socket = dial(door, port);
		await once(socket, "open");
		socket.send("x");
		const [code, reason] = await once(socket, "close");
		expect([code, String(reason)]).toEqual([4321, "because"]);
	});

	test("keeps the client's close code and reason", async () => {
		const door = await openDoor();
		const closed = deferred<[number, string]>();
		const port = await webSocketApp((socket) => socket.on("close", (code, why) => closed.resolve([code, String(why)])));
		const socket = dial(door, port);
		await once(socket, "open");
		socket.close(3456, "done");
		expect(await closed.promise).toEqual([3456, "done"]);
	});

	test("negotiates its subprotocol and compression with the app", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing(), ["chat.v2", "chat.v1"]);
		await once(socket, "open");
		expect(socket.protocol).toBe("chat.v2");
		expect(socket.extensions).toContain("permessage-deflate");
		socket.close();
	});

	test("shows the app the client's address, and the client the request's id", async () => {
		const door = await openDoor();
		const seen = deferred<http.IncomingHttpHeaders>();
		const socket = dial(door, await webSocketApp((_socket, req) => seen.resolve(req.headers)));
		const [response] = (await once(socket, "upgrade")) as [http.IncomingMessage];
		const headers = await seen.promise;
		expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
		expect(headers["x-runloop-request-id"]).toBe(response.headers["x-runloop-request-id"]);
		socket.terminate();
	});

	test("without the token is 401 and does not reach the app", async () => {
		const door = await openDoor({ target: { authMode: "authenticated", token: "s3cret" } });
		let reached = false;
		const port = await webSocketApp(() => {
			reached = true;
		});
		const socket = dial(door, port);
		const [error] = await once(socket, "error").catch((reason: Error) => [reason]);
		expect(String(error)).toContain("401");
		expect(reached).toBe(false);
	});

	test("with the token opens, and the app does not see it", async () => {
		const door = await openDoor({ target: { authMode: "authenticated", token: "s3cret" } });
		const seen = deferred<http.IncomingHttpHeaders>();
		const port = await webSocketApp((_socket, req) => seen.resolve(req.headers));
		const socket = dial(door, port, [], { authorization: "Bearer s3cret" });
		expect((await seen.promise).authorization).toBeUndefined();
		await once(socket, "open");
		socket.terminate();
	});

	test("ends when its devbox is dropped, and is counted while it lives", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		expect(door.tunnel.counts.liveUpgrades).toBe(1);
		const closed = once(socket, "close");
		door.tunnel.drop("dbx_a");
		expect((await closed)[0]).toBe(1006);
		await until(() => door.tunnel.counts.liveUpgrades === 0);
		expect(door.tunnel.counts.upgrades).toBe(1);
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

	test("counts as activity while bytes flow", async () => {
		const door = await openDoor();
		const socket = dial(door, await echoing());
		await once(socket, "open");
		const before = door.directory.active.length;
		socket.send("x");
		await once(socket, "message");
		expect(door.directory.active.length).toBeGreaterThan(before);
		socket.terminate();
	});
});

describe("another protocol", () => {
	const accept = (socket: Socket) =>
		socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nX-App: 1\r\n\r\n");

	test("is a pipe of bytes, each way closed by itself", async () => {
		const door = await openDoor();
		const port = await rawApp((socket) => {
			const heard: Buffer[] = [];
			socket.once("data", () => {
				accept(socket);
				socket.on("data", (chunk) => heard.push(chunk));
				// Only when the client has finished: the answer needs the other way to be open still.
				socket.on("end", () => socket.end(`heard ${Buffer.concat(heard)}`));
			});
		});
		const socket = net.connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
		socket.write(upgradeOf(port, "tcp"));
		const [head] = (await once(socket, "data")) as [Buffer];
		expect(String(head)).toMatch(
			/^HTTP\/1\.1 101 Switching Protocols\r\nX-App: 1\r\nx-runloop-request-id: \S+\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n$/,
		);
		socket.end("bytes");
		expect(String(await bytes(socket))).toBe("heard bytes");
	});

	test("hears the client after it has finished itself", async () => {
		const door = await openDoor();
		const heard = deferred<string>();
		const port = await rawApp((socket) => {
			socket.once("data", async () => {
				accept(socket);
				socket.end("that is all");
				heard.resolve(await untilEnd(socket));
			});
		});
		const socket = net.connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
		socket.write(upgradeOf(port, "tcp"));
		expect(await untilEnd(socket)).toContain("that is all");
		socket.end("noted");
		expect(await heard.promise).toBe("noted");
	});

	test("loses nothing that was sent with the request or with the answer", async () => {
		const door = await openDoor();
		const port = await rawApp((socket) => {
			let text = "";
			socket.on("data", (chunk) => {
				if (text === "") socket.write("HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello");
				text += chunk;
				if (text.endsWith("early")) socket.end(" and you");
			});
		});
		const response = await sendRaw(door, `${upgradeOf(port, "tcp")}early`);
		expect(response.slice(response.indexOf("\r\n\r\n") + 4)).toBe("hello and you");
	});
});

describe("an upgrade that does not happen", () => {
	test("passes the app's ordinary answer on and ends the connection", async () => {
		const door = await openDoor();
		const response = await sendRaw(door, upgradeOf(await echo(), "websocket"));
		expect(response).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
		expect(response).toContain('"Upgrade","websocket"');
	});

	test("passes a long answer whole", async () => {
		const door = await openDoor();
		const body = randomBytes(8 << 20).toString("hex");
		const port = await listen(http.createServer((_req, res) => res.setHeader("content-length", body.length).end(body)));
		const response = await sendRaw(door, upgradeOf(port, "websocket"));
		expect(response.slice(response.indexOf("\r\n\r\n") + 4) === body).toBe(true);
	});

	test("is 502 when nothing listens", async () => {
		const door = await openDoor();
		const server = net.createServer();
		const port = await listen(server);
		server.close();
		await once(server, "close");
		expect(await sendRaw(door, upgradeOf(port, "websocket"))).toMatch(/^HTTP\/1\.1 502 /);
	});

	test.each(["h2c", "H2C", "foo, h2c"])("to %s is a plain request: no way past the tunnel", async (protocol) => {
		const door = await openDoor();
		const response = await sendRaw(door, upgradeOf(await echo(), protocol, ", HTTP2-Settings\r\nHTTP2-Settings: x"));
		expect(response).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
		expect(response).not.toMatch(/h2c|http2-settings/i);
	});

	test("with a body is 400", async () => {
		const door = await openDoor();
		const text = upgradeOf(await echo(), "websocket", "\r\nContent-Length: 4");
		expect(await sendRaw(door, `${text}body`)).toMatch(/^HTTP\/1\.1 400 /);
	});

	test("from a client that leaves takes the app's side with it", async () => {
		const door = await openDoor();
		const arrived = deferred<Socket>();
		const port = await rawApp((socket) =>
			socket.once("data", () => arrived.resolve(socket)).on("end", () => socket.end()),
		);
		const client = net.connect(door.port, "127.0.0.1");
		client.write(upgradeOf(port, "websocket"));
		const appSide = await arrived.promise;
		client.resetAndDestroy();
		await once(appSide, "close");
	});
});
