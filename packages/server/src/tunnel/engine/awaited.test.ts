/** While a decision is awaited: who leaves is noticed, who stays loses nothing. */
import * as http2 from "node:http2";
import { describe, expect, it } from "vitest";
import type { Decision, RequestInfo } from "../decision.js";
import { answer, start } from "./http2.fixture.js";
import { answering, connect, localResponse, proxyTo, rawServer, stalled, startEngine } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

/** Decisions that a test makes when it likes. */
class Decider {
	readonly waiting: { readonly request: RequestInfo; readonly decide: (decision: Decision) => void }[] = [];
	/** How often it was told that a client has gone. */
	gone = 0;
	private wake: (() => void)[] = [];

	readonly decide = (request: RequestInfo): Promise<Decision> =>
		new Promise((decide) => {
			request.onGone(() => {
				this.gone++;
				this.stir();
			});
			this.waiting.push({ request, decide });
			this.stir();
		});

	async when(ready: () => boolean): Promise<void> {
		while (!ready()) await new Promise<void>((resolve) => this.wake.push(resolve));
	}

	async first(): Promise<(typeof this.waiting)[0]> {
		await this.when(() => this.waiting.length > 0);
		return this.waiting[0]!;
	}

	private stir(): void {
		for (const resolve of this.wake.splice(0)) resolve();
	}
}

describe("an awaited decision", () => {
	it("is told once of an HTTP/1.1 client that vanishes, and of nobody who stays or was answered", async () => {
		const decider = new Decider();
		const { port, records, engine } = await startEngine(decider.decide);
		const [leaves, stays] = [await connect(port), await connect(port)];
		leaves.write(GET);
		await decider.first();
		stays.write(GET);
		await decider.when(() => decider.waiting.length === 2);
		leaves.socket.resetAndDestroy();
		await decider.when(() => decider.gone === 1);
		decider.waiting[0]!.decide(localResponse(200, "late"));
		decider.waiting[1]!.decide(localResponse(200, "hello"));
		await stays.sees("hello");
		stays.socket.resetAndDestroy();
		while (engine.stats().clients > 0) await new Promise((resolve) => setImmediate(resolve));
		expect(decider.gone).toBe(1);
		expect(records).toMatchObject([
			{ status: 0, outcome: "aborted" },
			{ status: 200, outcome: "completed" },
		]);
	});

	it("is not told of clients that leave once it is made", async () => {
		const box = await rawServer();
		const decider = new Decider();
		const { port, session, engine } = await start(decider.decide);
		const client = await connect(port);
		client.write(GET);
		const stream = session.request({ ":path": "/", ":authority": "t" });
		stream.on("error", () => {});
		await decider.when(() => decider.waiting.length === 2);
		for (const { decide } of decider.waiting) decide(proxyTo(box.port));
		await Promise.all([(await box.peer(0)).sees(GET), (await box.peer(1)).sees(GET)]);
		client.socket.resetAndDestroy();
		stream.close(http2.constants.NGHTTP2_CANCEL);
		while (engine.stats().upstreams > 0) await new Promise((resolve) => setImmediate(resolve));
		expect(decider.gone).toBe(0);
	});

	it("is told at once when it asks after the client has gone", async () => {
		let told = 0;
		const decider = new Decider();
		const { port } = await startEngine(decider.decide);
		const client = await connect(port);
		client.write(GET);
		const { request } = await decider.first();
		client.socket.resetAndDestroy();
		await decider.when(() => decider.gone === 1);
		request.onGone(() => told++);
		expect(told).toBe(1);
	});

	it("may fail for want of a client, and a listener may throw: neither ends the engine", async () => {
		const { port, unexpected, engine } = await startEngine(
			(request) =>
				new Promise((_, reject) => {
					request.onGone(() => {
						throw new TypeError("listener");
					});
					request.onGone(() => reject(new TypeError("given up")));
				}),
		);
		const client = await connect(port);
		await client.write(GET).when("sent", () => client.socket.writableLength === 0);
		while (engine.stats().clients === 0) await new Promise((resolve) => setImmediate(resolve));
		await stalled(() => unexpected.length);
		client.socket.resetAndDestroy();
		while (engine.stats().clients > 0) await new Promise((resolve) => setImmediate(resolve));
		expect(unexpected).toMatchObject([{ message: "listener" }]);
	});

	it("goes on for an HTTP/1.1 client that has only half-closed", async () => {
		const decider = new Decider();
		const { port, engine } = await startEngine(decider.decide);
		const client = await connect(port);
		client.write(GET).end();
		const { decide } = await decider.first();
		await stalled(() => engine.stats().clients);
		expect(decider.gone).toBe(0);
		decide(localResponse(200, "hello"));
		await client.sees("hello");
	});

	it.each([
		["CANCEL", http2.constants.NGHTTP2_CANCEL],
		["NO_ERROR", http2.constants.NGHTTP2_NO_ERROR],
	])("is told of an HTTP/2 stream that its client resets with %s, with and without a body", async (_name, code) => {
		for (const method of ["GET", "POST"]) {
			const decider = new Decider();
			const { session, engine } = await start(decider.decide);
			const stream = session.request(
				{ ":path": "/", ":authority": "t", ":method": method },
				{ endStream: method === "GET" },
			);
			stream.on("error", () => {});
			if (method === "POST") stream.write("abc");
			const { decide } = await decider.first();
			stream.close(code);
			await decider.when(() => decider.gone === 1);
			decide(localResponse(200, "late"));
			expect(engine.stats().http2Requests).toBe(0);
		}
	});

	it("is told of an HTTP/2 client whose connection breaks", async () => {
		const decider = new Decider();
		const { session } = await start(decider.decide);
		session.request({ ":path": "/", ":authority": "t" }).on("error", () => {});
		await decider.first();
		session.destroy();
		await decider.when(() => decider.gone === 1);
	});

	it("is told when the engine closes", async () => {
		const decider = new Decider();
		const { port, session, engine } = await start(decider.decide);
		(await connect(port)).write(GET);
		await decider.first();
		session.request({ ":path": "/", ":authority": "t" }).on("error", () => {});
		await decider.when(() => decider.waiting.length === 2);
		await engine.close({ graceMs: 0 });
		expect(decider.gone).toBe(2);
	});

	it("finishes within the grace of a closing engine", async () => {
		const decider = new Decider();
		const { port, engine } = await startEngine(decider.decide);
		const client = await connect(port);
		client.write(GET);
		const { decide } = await decider.first();
		const closed = engine.close({ graceMs: 10_000 });
		decide(localResponse(200, "hello"));
		expect(await client.finished()).toMatch(/Connection: close[\s\S]*hello$/);
		client.end();
		await closed;
	});

	it("is cut by no time limit of the engine", async () => {
		const decider = new Decider();
		const short = { head: 20, keepAlive: 20, idleBody: 20, halfClosed: 20, tick: 10 };
		const { port, session } = await start(decider.decide, { timeouts: short, limits: { pipelinedBytes: 100 } });
		// The body fills the buffer, so that the socket is paused; a second client half-closes.
		const [paused, ended] = [await connect(port), await connect(port)];
		paused.write("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
		await decider.first();
		paused.write("x".repeat(1000));
		ended.write(GET).end();
		await decider.when(() => decider.waiting.length === 2);
		const stream = session.request({ ":path": "/", ":authority": "t", ":method": "POST" }, { endStream: false });
		stream.write("abc");
		await decider.when(() => decider.waiting.length === 3);
		// Longer than all limits together: whoever waits meanwhile for a head is long gone.
		const other = await connect(port);
		await other.finished();
		const another = await connect(port);
		await another.finished();
		for (const { decide } of decider.waiting) decide(localResponse(200, "hello"));
		await Promise.all([paused.sees("hello"), ended.sees("hello")]);
		expect((await answer(stream)).body.toString()).toBe("hello");
		expect(decider.gone).toBe(0);
	});

	it.each([64 * 1024, 100])(
		"holds a big body back by back-pressure (%i bytes), then all of it is proxied",
		async (pipelinedBytes) => {
			const size = 32 * 1024 * 1024;
			const box = await rawServer((peer) => {
				peer.socket.on("data", () => peer.receivedBytes > size && peer.write(OK));
			});
			const decider = new Decider();
			const { port } = await startEngine(decider.decide, { limits: { pipelinedBytes } });
			const client = await connect(port);
			client.write(`POST / HTTP/1.1\r\nHost: t\r\nX-A: b\r\nContent-Length: ${size}\r\n\r\n`);
			const body = Buffer.alloc(size, "abcdefg");
			client.write(body);
			const { request, decide } = await decider.first();
			await stalled(() => client.socket.bytesWritten);
			expect(client.socket.writableLength).toBeGreaterThan(size / 2);
			// Another request in between must not overwrite what is known of this one.
			(await connect(port)).write("PUT /other HTTP/1.1\r\nHost: u\r\nX-A: c\r\n\r\n");
			await decider.when(() => decider.waiting.length === 2);
			expect([request.method, request.authority, request.header("x-a")]).toEqual(["POST", "t", "b"]);
			decide(proxyTo(box.port));
			await client.sees("hello");
			const { chunks } = await box.peer(0);
			const got = Buffer.concat(chunks);
			expect(got.subarray(got.indexOf("\r\n\r\n") + 4).equals(body)).toBe(true);
			// The connection goes on.
			client.write(GET);
			await decider.when(() => decider.waiting.length === 3);
			decider.waiting[2]!.decide(localResponse(200, "next"));
			await client.sees("next");
		},
	);

	it.each([64 * 1024, 10])("keeps what an upgraded client says early (%i bytes)", async (pipelinedBytes) => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => peer.write("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")),
		);
		const decider = new Decider();
		const { port } = await startEngine(decider.decide, { limits: { pipelinedBytes } });
		const client = await connect(port);
		client.write("GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
		const { decide } = await decider.first();
		client.write("early and impatient");
		await client.when("sent", () => client.socket.writableLength === 0);
		decide(proxyTo(box.port));
		const peer = await box.peer(0);
		await peer.sees("early and impatient");
		await client.sees("101");
		client.write("and more");
		await peer.sees("and more");
	});

	it("carries pipelined requests on one after the other", async () => {
		const box = await rawServer(answering(OK));
		const decider = new Decider();
		const { port } = await startEngine(decider.decide, { limits: { pipelinedBytes: 100 } });
		const client = await connect(port);
		client.write(GET.repeat(20));
		for (let i = 0; i < 20; i++) {
			await decider.when(() => decider.waiting.length > i);
			expect(decider.waiting).toHaveLength(i + 1);
			decider.waiting[i]!.decide(proxyTo(box.port));
		}
		await client.when("all of them", () => client.received.split("hello").length === 21);
	});
});
