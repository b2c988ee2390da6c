/** Boxes reached over a stream that the decision brings, in place of TCP. */
import { createHash, randomBytes } from "node:crypto";
import * as net from "node:net";
import { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { ask as ask2, start } from "./http2.fixture.js";
import { answering, ask, connect, proxyTo, rawServer, stalled, startEngine } from "./testing.fixture.js";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
const MEGABYTE = 1024 * 1024;

/** A connection that is no `net.Socket`, as a channel of SSH would be: nothing but what a stream can do. */
class Channel extends Duplex {
	private readonly inner: net.Socket;

	constructor(port: number) {
		super({ allowHalfOpen: true });
		this.inner = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
		this.inner.on("connect", () => this.emit("connect"));
		this.inner.on("data", (chunk) => {
			if (!this.push(chunk)) this.inner.pause();
		});
		this.inner.on("end", () => this.push(null));
		this.inner.on("error", (error) => this.destroy(error));
		this.inner.on("close", () => this.destroy());
	}

	override _read(): void {
		this.inner.resume();
	}

	override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
		this.inner.write(chunk, done);
	}

	override _final(done: () => void): void {
		this.inner.end(done);
	}

	override _destroy(error: Error | null, done: (error: Error | null) => void): void {
		this.inner.destroy();
		done(error);
	}
}

/** Decides for `port` over channels; counts them. */
function channels(port: number) {
	const opened: Channel[] = [];
	const dial = () => {
		const channel = new Channel(port);
		opened.push(channel);
		return channel;
	};
	return { opened, decide: () => proxyTo(1, { dial }) };
}

const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

describe("a connection that the decision dials", () => {
	it("carries requests of both versions, and is pooled", async () => {
		const box = await rawServer(answering(OK));
		const { opened, decide } = channels(box.port);
		const { port, session, engine } = await start(decide);
		const client = await connect(port);
		await client.write(GET).sees("hello");
		client.write(`POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab`);
		await client.when("the second", () => client.received.split("hello").length === 3);
		expect((await ask2(session, {})).body.toString()).toBe("hello");
		expect(opened).toHaveLength(1);
		expect((await box.peer(0)).received).toBe(`${GET}POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab${GET}`);
		expect(engine.stats()).toMatchObject({ upstreams: 1, idleUpstreams: 1 });
		opened[0]!.destroy();
		await client.write(GET).when("the fourth", () => client.received.split("hello").length === 4);
		expect(opened).toHaveLength(2);
	});

	it.each<[name: string, before: (body: Buffer) => string, after: string]>([
		["a length", (body) => `Content-Length: ${body.length}\r\n\r\n`, ""],
		["chunks", (body) => `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`, "\r\n0\r\n\r\n"],
		["neither", () => "\r\n", ""],
	])("carries bodies of 8 MB both ways, the response with %s", async (name, before, after) => {
		const size = 8 * MEGABYTE;
		const box = await rawServer((peer) => {
			const answer = () => {
				if (peer.receivedBytes <= size) return;
				peer.socket.off("data", answer);
				const all = Buffer.concat(peer.chunks);
				const body = all.subarray(all.indexOf("\r\n\r\n") + 4);
				peer
					.write(`HTTP/1.1 200 OK\r\n${before(body)}`)
					.write(body)
					.write(after);
				if (name === "neither") peer.end();
			};
			peer.socket.on("data", answer);
		});
		const { session } = await start(channels(box.port).decide);
		const body = randomBytes(size);
		const got = await ask2(session, { ":method": "POST", "content-length": String(size) }, body);
		expect(hash(got.body)).toBe(hash(body));
	});

	it("holds back whoever sends more than the other side takes", async () => {
		let written = 0;
		const chunk = Buffer.alloc(64 * 1024);
		const pour = (socket: net.Socket) => {
			const more = () => {
				while (written < 256 * MEGABYTE && socket.write(chunk)) written += chunk.length;
			};
			socket.on("drain", more);
			more();
		};
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => {
				if (peer.received.startsWith("POST")) peer.socket.pause();
				else pour(peer.write("HTTP/1.1 200 OK\r\n\r\n").socket);
			}),
		);
		const { port } = await startEngine(channels(box.port).decide);
		const downloads = await connect(port);
		await downloads.write(GET).sees("200 OK");
		downloads.socket.pause();
		await stalled(() => written);
		expect(written).toBeLessThan(64 * MEGABYTE);
		const before = written;
		downloads.socket.resume();
		await downloads.when("more", () => downloads.receivedBytes > before + MEGABYTE);
		downloads.socket.destroy();

		written = 0;
		const uploads = await connect(port);
		uploads.write(`POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ${1024 * MEGABYTE}\r\n\r\n`);
		const peer = await box.peer(1);
		await peer.sees("POST");
		pour(uploads.socket);
		await stalled(() => written);
		expect(written).toBeLessThan(64 * MEGABYTE);
		const taken = written;
		peer.socket.resume();
		await peer.when("more", () => peer.receivedBytes > taken + MEGABYTE);
	});

	it("carries upgrades, half-closed from either side, and aborts of either side", async () => {
		const box = await rawServer((peer) =>
			peer.socket.once("data", () => peer.write("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")),
		);
		const { port, engine, records } = await startEngine(channels(box.port).decide);
		const upgrade = "GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";
		for (const [i, first] of (["client", "box"] as const).entries()) {
			const client = await connect(port);
			await client.write(upgrade).sees("101");
			const peer = await box.peer(i);
			const [one, other] = first === "client" ? [client, peer] : [peer, client];
			one.write("last").end();
			await other.finished();
			expect(other.received).toMatch(/last$/);
			await other.write("after").end();
			await one.gone();
			expect(one.received).toMatch(/after$/);
		}
		for (const i of [2, 3]) {
			const client = await connect(port);
			await client.write(upgrade).sees("101");
			const peer = await box.peer(i);
			const [one, other] = i === 2 ? [client, peer] : [peer, client];
			one.socket.resetAndDestroy();
			await other.finished();
		}
		while (engine.stats().clients + engine.stats().upstreams > 0) await new Promise((resolve) => setImmediate(resolve));
		expect(records.map(({ outcome }) => outcome)).toEqual(["completed", "completed", "aborted", "aborted"]);
	});

	it("fails as TCP does", async () => {
		const failing = (code: string | undefined) => {
			const stream = new Duplex({ read() {}, write: () => {} });
			setImmediate(() => stream.destroy(code === undefined ? undefined : Object.assign(new Error(code), { code })));
			return stream;
		};
		let dial: () => Duplex;
		const { port, unexpected, engine } = await startEngine(() => proxyTo(1, { dial: () => dial() }), {
			timeouts: { connect: 20, tick: 10 },
		});
		for (const [code, failure] of [
			["ECONNREFUSED", "refused"],
			["EHOSTUNREACH", "unreachable"],
			["ETIMEDOUT", "connect_timeout"],
			[undefined, "closed"],
		] as const) {
			dial = () => failing(code);
			await (await connect(port)).write(GET).sees(`failed: ${failure}`);
		}
		dial = () => new Duplex({ read() {}, write: () => {} });
		await (await connect(port)).write(GET).sees("failed: connect_timeout");
		expect(unexpected).toEqual([]);
		dial = () => {
			throw new TypeError("dial");
		};
		expect(await ask(port, GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))).toMatch(/^HTTP\/1\.1 500 /);
		expect(unexpected).toHaveLength(1);
		expect(engine.stats().upstreams).toBe(0);
	});

	it("is dropped with its devbox, and ended when its client leaves", async () => {
		const box = await rawServer();
		const { opened, decide } = channels(box.port);
		const { port, engine } = await startEngine(decide);
		const [dropped, leaving] = [await connect(port), await connect(port)];
		dropped.write(GET);
		await (await box.peer(0)).sees(GET);
		engine.dropDevbox("dbx_1");
		await dropped.sees("failed: closed");
		leaving.write(GET);
		await (await box.peer(1)).sees(GET);
		leaving.socket.resetAndDestroy();
		await (await box.peer(1)).finished();
		expect(opened.map(({ destroyed }) => destroyed)).toEqual([true, true]);
	});
});
