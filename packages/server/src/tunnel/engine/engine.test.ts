/** The engine's door: hand-over, dropping a devbox, closing, accounting. */
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as net from "node:net";
import { describe, expect, it } from "vitest";
import { answering, ask, cleanup, connect, localResponse, proxyTo, rawServer, startEngine } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

describe("hand-over", () => {
	async function withApi() {
		const api = http.createServer((request, response) => {
			let body = "";
			request.setEncoding("latin1").on("data", (part: string) => {
				body += part;
			});
			request.on("end", () => response.end(`api ${request.method} ${request.url} ${body}`));
		});
		api.on("upgrade", (_request, socket, head: Buffer) => {
			socket.write("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
			socket.write(`early ${head}`);
			socket.on("data", (chunk: Buffer) => socket.write(`got ${chunk}`));
		});
		cleanup(() => {
			api.closeAllConnections();
			api.close();
		});
		return await startEngine(
			() => localResponse(200, "tunnel"),
			{},
			{ ours: ({ authority }) => authority !== "api", handOver: (socket) => api.emit("connection", socket) },
		);
	}

	it("gives a connection to node:http as if nothing had been read", async () => {
		const { port, engine } = await withApi();
		const client = await connect(port);
		// In two parts, the second with a pipelined request.
		client.write("POST /a HTTP/1.1\r\nHo");
		await client.when("sent", () => client.socket.writableLength === 0);
		client.write("st: api\r\nContent-Length: 6\r\n\r\nabc");
		while (engine.stats().clients > 0) await new Promise((resolve) => setImmediate(resolve));
		client.write("defGET /b HTTP/1.1\r\nHost: api\r\n\r\n");
		await client.sees("api POST /a abcdef");
		await client.sees("api GET /b ");
		client.write("GET /c HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
		expect(await client.finished()).toContain("api GET /c ");
	});

	it("works for large bodies and upgrades", async () => {
		const { port } = await withApi();
		const body = "x".repeat(1_000_000);
		const response = await ask(
			port,
			`POST /a HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
		);
		expect(response).toContain(body);
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nhi").sees("early hi");
		await client.write("more").sees("got more");
	});

	it("is handed over at a later request too", async () => {
		const { port } = await withApi();
		const client = await connect(port);
		await client.write(GET).sees("tunnel");
		client.write("GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
		expect(await client.finished()).toMatch(/200 [\s\S]*tunnel[\s\S]*HTTP\/1\.1 200/);
	});

	it("is refused with 421 where nobody takes it", async () => {
		const { port: alone } = await startEngine(() => localResponse(200, "tunnel"), {}, { ours: () => false });
		expect(await ask(alone, GET)).toMatch(/^HTTP\/1\.1 421 /);
	});
});

describe("an engine", () => {
	it("takes a socket of which some was read already", async () => {
		const { engine } = await startEngine((request) => localResponse(200, `${request.target} ${request.secure}`));
		const server = net.createServer({ pauseOnConnect: true }, (socket) =>
			engine.accept(socket, { secure: true, head: Buffer.from("GET /x HT") }),
		);
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		cleanup(() => {
			server.close();
		});
		const client = await connect((server.address() as AddressInfo).port);
		await client.write("TP/1.1\r\nHost: t\r\n\r\n").sees("/x true");
	});

	it("takes a socket that is dead already", async () => {
		const { engine } = await startEngine(1);
		const socket = new net.Socket();
		socket.destroy();
		engine.accept(socket, { secure: false });
		expect(engine.stats().clients).toBe(0);
	});

	it("drops what belongs to a devbox, and nothing else", async () => {
		const box = await rawServer((peer) => {
			answering((head) => (head.includes("/wait") ? undefined : OK))(peer);
		});
		const { port, engine } = await startEngine((request) => proxyTo(box.port, { devboxId: request.authority }));
		const [waiting, idle, other] = [await connect(port), await connect(port), await connect(port)];
		await idle.write(GET).sees("hello");
		waiting.write("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n");
		await (await box.peer(0)).sees("/wait");
		await idle.write(GET).sees("hello");
		other.write("GET /wait HTTP/1.1\r\nHost: u\r\n\r\n");
		const kept = await box.peer(2).catch(() => undefined);
		engine.dropDevbox("t");
		expect(await waiting.sees("failed: closed")).toContain("502");
		expect(engine.stats().upstreams).toBe(1);
		await kept?.write(OK);
		await other.sees("hello");
		// What was idle with its client only lost its upstream connection.
		idle.write(GET);
		await idle.when("another answer", () => idle.received.split("hello").length >= 3);
	});

	it("drops what one grant let in, requests and upgrades, and nothing else", async () => {
		const box = await rawServer(
			answering((head) =>
				head.includes("/upgrade")
					? "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
					: head.includes("/wait")
						? undefined
						: OK,
			),
		);
		const { port, engine } = await startEngine((request) =>
			proxyTo(box.port, { devboxId: request.header("x-box")!, grant: request.header("x-grant") }),
		);
		const begin = async (path: string, devbox: string, grant: string) => {
			const fields = `X-Box: ${devbox}\r\n${grant}Connection: upgrade\r\nUpgrade: raw\r\n`;
			const at = box.peers.length;
			const client = await connect(port);
			client.write(`GET ${path} HTTP/1.1\r\nHost: t\r\n${fields}\r\n`);
			await (await box.peer(at)).sees("\r\n\r\n");
			if (path === "/upgrade") await client.sees("101 ");
			return client;
		};
		const [waiting, upgraded] = [
			await begin("/wait", "a", "X-Grant: g\r\n"),
			await begin("/upgrade", "a", "X-Grant: g\r\n"),
		];
		const others = [
			await begin("/upgrade", "a", "X-Grant: h\r\n"),
			await begin("/upgrade", "a", ""),
			await begin("/upgrade", "b", "X-Grant: g\r\n"),
		];
		engine.dropGrant("a", "g");
		engine.dropGrant("nobody", "g");
		await waiting.sees("failed: closed");
		await upgraded.gone();
		for (const [i, client] of others.entries()) {
			client.write("still here");
			await box.peers[i + 2]!.sees("still here");
		}
		// A connection that is idle belongs to nobody's grant.
		await (await begin("/", "b", "X-Grant: g\r\n")).sees("hello");
		expect(engine.stats().idleUpstreams).toBe(1);
		engine.dropGrant("b", "g");
		expect(engine.stats()).toMatchObject({ idleUpstreams: 1, upgrades: 2 });
	});

	it("never uses a connection to an address that a devbox has left", async () => {
		const [old, present] = [await rawServer(answering(OK)), await rawServer(answering(OK))];
		let box = { port: old.port, address: "127.0.0.1" };
		const { port } = await startEngine(() => proxyTo(box.port, { address: box.address }));
		const client = await connect(port);
		await client.write(GET).sees("hello");
		await (await old.peer(0)).when("quiet", () => true);
		box = { port: old.port, address: "127.0.0.2" };
		await client.write(GET).sees("failed: refused");
		await (await old.peer(0)).finished();
		expect(present.peers).toHaveLength(0);
	});

	it("tells of activity in both directions", async () => {
		let active = 0;
		const box = await rawServer(answering(OK));
		const { port } = await startEngine(() => proxyTo(box.port, { activity: () => active++ }));
		const client = await connect(port);
		await client.write("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx").sees("hello");
		expect(active).toBe(2);
	});

	it("closes: idle connections at once, running requests when they are done, the rest after the grace", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => peer.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")),
		);
		const { port, engine } = await startEngine(box.port);
		const [idle, running] = [await connect(port), await connect(port)];
		await running.write(GET).sees("he");
		const closed = engine.close({ graceMs: 10_000 });
		await idle.finished();
		expect(await ask(port, GET)).toBe("");
		(await box.peer(0)).write("llo");
		await running.finished();
		expect(running.received).toMatch(/hello$/);
		await closed;
		await engine.close({ graceMs: 0 });
		expect(engine.stats()).toEqual({ clients: 0, http2Requests: 0, upstreams: 0, idleUpstreams: 0, upgrades: 0 });
	});

	it("closes: what is not done after the grace is broken off", async () => {
		const box = await rawServer();
		const { port, engine } = await startEngine(box.port);
		const client = await connect(port);
		client.write(GET);
		await (await box.peer(0)).sees("\r\n\r\n");
		await engine.close({ graceMs: 20 });
		await client.finished();
		await (await box.peer(0)).finished();
		expect(engine.stats()).toMatchObject({ clients: 0, upstreams: 0 });
	});
});
