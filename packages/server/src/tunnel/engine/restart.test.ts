/** A dev server that is stopped and started again must not show. */
import { describe, expect, it } from "vitest";
import { answering, ask, cleanup, connect, proxyTo, RawServer, rawServer, startEngine } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

describe("a box whose server restarts", () => {
	it("between requests: the next request is answered by the new one", async () => {
		let box = await rawServer(answering(OK));
		const { port } = await startEngine(() => proxyTo(box.port));
		const client = await connect(port);
		for (let i = 1; i <= 5; i++) {
			client.write(GET);
			await client.when(`response ${i}`, () => client.received.split("hello").length === i + 1);
			const old = box.port;
			await box.close();
			box = await new RawServer(answering(OK)).listen(old);
			const present = box;
			cleanup(() => present.close());
		}
		expect(client.received).not.toContain("502");
	});

	it("at the very moment of a request: an idempotent one is sent again, once", async () => {
		for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]) {
			let requests = 0;
			// Each first connection answers once and dies when it is asked again.
			const box = await rawServer((peer, index) =>
				peer.socket.on("data", () => {
					requests++;
					if (index === 0 && requests > 1) peer.socket.resetAndDestroy();
					else peer.write(method === "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: hello\r\n\r\n" : OK);
				}),
			);
			const { port } = await startEngine(box.port);
			const client = await connect(port);
			const request = `${method} / HTTP/1.1\r\nHost: t\r\n${method === "PUT" ? "Content-Length: 4\r\n\r\nbody" : "\r\n"}`;
			await client.write(request).sees("hello");
			client.write(request);
			await client.when("the second response", () => client.received.split("hello").length === 3);
			expect(client.received).not.toContain("502");
			expect(requests).toBe(3);
			expect((await box.peer(1)).received).toBe(request);
		}
	});

	it("a request that may act twice is not sent again", async () => {
		let requests = 0;
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => {
				if (++requests > 1) peer.socket.resetAndDestroy();
				else peer.write(OK);
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(GET).sees("hello");
		await client.write("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n").sees("failed: closed");
		expect(requests).toBe(2);
	});

	it("a request is not sent a third time", async () => {
		let requests = 0;
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => {
				if (++requests > 1) peer.socket.resetAndDestroy();
				else peer.write(OK);
			}),
		);
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(GET).sees("hello");
		await client.write(GET).sees("failed: closed");
		expect(requests).toBe(3);
	});

	it("a request on a new connection that dies is not sent again", async () => {
		let requests = 0;
		const box = await rawServer((peer) =>
			peer.socket.on("data", () => {
				requests++;
				peer.socket.resetAndDestroy();
			}),
		);
		const { port } = await startEngine(box.port);
		expect(await ask(port, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")).toContain("failed: closed");
		expect(requests).toBe(1);
	});

	it("a request whose body was passed on in part is not sent again", async () => {
		let connections = 0;
		const box = await rawServer((peer, index) => {
			connections++;
			if (index === 0) {
				let heads = 0;
				peer.socket.on("data", (chunk) => {
					if (chunk.toString("latin1").startsWith("GET")) peer.write(OK);
					else if (++heads === 2) peer.socket.resetAndDestroy();
				});
			}
		});
		const { port } = await startEngine(box.port);
		const client = await connect(port);
		await client.write(GET).sees("hello");
		client.write("PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
		await (await box.peer(0)).sees("abc");
		await client.write("def").sees("failed: closed");
		expect(connections).toBe(1);
	});

	it("during a response: it is broken off, and the next request is answered", async () => {
		let box = await rawServer((peer) =>
			peer.socket.once("data", () => peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
		);
		const { port } = await startEngine(() => proxyTo(box.port));
		const client = await connect(port);
		await client.write(GET).sees("abc");
		const old = box.port;
		await box.close();
		await client.finished();
		box = await new RawServer(answering(OK)).listen(old);
		const present = box;
		cleanup(() => present.close());
		const next = await connect(port);
		expect(await next.write(GET).sees("hello")).toContain("200 OK");
	});

	it("while nothing listens: the failure says so", async () => {
		const box = await rawServer();
		await box.close();
		const free = box.server.listening ? 0 : await freePort();
		const { port } = await startEngine(free);
		expect(await ask(port, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")).toContain("failed: refused");
	});
});

async function freePort(): Promise<number> {
	const server = await new RawServer().listen();
	const { port } = server;
	await server.close();
	return port;
}
