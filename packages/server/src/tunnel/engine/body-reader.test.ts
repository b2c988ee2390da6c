/** Requests that Gangway answers by itself once it has read their bodies. */
import * as http2 from "node:http2";
import { describe, expect, it } from "vitest";
import type { BodyRequest, LocalResponse } from "../decision.js";
import { answer, ask as ask2, start } from "./http2.fixture.js";
import { ask, connect, localResponse, startEngine } from "./testing.fixture.js";

function reading(
	limit: number,
	reply: (body: Buffer) => LocalResponse | Promise<LocalResponse> = (body) => localResponse(200, `got ${body}.`),
): BodyRequest {
	return { kind: "read", limit, answer: reply };
}

const POST = "POST / HTTP/1.1\r\nHost: t\r\n";

describe("a body that Gangway reads", () => {
	it("has a length, or chunks, or is none; the connection goes on", async () => {
		const { port, records } = await startEngine(() => reading(10));
		const client = await connect(port);
		client.write(`${POST}Content-Length: 3\r\n\r\nabc${POST}Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1`);
		await client.sees("got abc.");
		client.write(`\r\nf\r\n0\r\n\r\n${POST}\r\n${POST}Connection: close\r\nContent-Length: 10\r\n\r\n0123456789`);
		const all = await client.finished();
		expect(all.match(/got .*?\./g)).toEqual(["got abc.", "got def.", "got .", "got 0123456789."]);
		expect(records.map(({ local, status, outcome }) => [local, status, outcome])).toEqual(
			Array(4).fill([true, 200, "completed"]),
		);
	});

	it("is read over HTTP/2 too", async () => {
		const { session, records } = await start(() => reading(10));
		const post = { ":method": "POST" };
		expect((await ask2(session, post, [Buffer.from("ab"), Buffer.from("c")])).body.toString()).toBe("got abc.");
		expect((await ask2(session, post)).body.toString()).toBe("got .");
		const expecting = { ...post, expect: "100-continue", "content-length": "3" };
		const continued = session.request({ ":authority": "t", ":path": "/", ...expecting }, { endStream: false });
		continued.once("continue", () => continued.end("abc"));
		expect((await answer(continued)).body.toString()).toBe("got abc.");
		expect(records.map(({ local, status }) => [local, status])).toEqual(Array(3).fill([true, 200]));
	});

	it("is asked for where the client waits to be, and not where it is too long", async () => {
		const { port } = await startEngine(() => reading(10));
		const client = await connect(port);
		await client
			.write(`${POST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`)
			.sees("HTTP/1.1 100 Continue\r\n\r\n");
		await client.write("abc").sees("got abc.");
		const refused = await ask(port, `${POST}Expect: 100-continue\r\nContent-Length: 11\r\n\r\n`);
		expect(refused).toMatch(/^HTTP\/1\.1 413 [\s\S]*Connection: close/);
		const old = await ask(port, "POST / HTTP/1.0\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
		expect(old).toMatch(/^HTTP\/1\.1 200 [\s\S]*got abc\.$/);
	});

	it("is 413 when it is too long, told before or found out", async () => {
		let answered = 0;
		const counting = () => reading(10, () => localResponse(200, String(++answered)));
		const { port, session } = await start(counting);
		// With all of it read, the connection may go on.
		await (await connect(port)).write(`${POST}Content-Length: 11\r\n\r\n01234567890`).sees("HTTP/1.1 413 ");
		const bodies = [
			"Content-Length: 11\r\n\r\n0123456789",
			"Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n",
			`Transfer-Encoding: chunked\r\n\r\n${"6\r\n012345\r\n".repeat(1000)}`,
		];
		for (const body of bodies) {
			expect(await ask(port, POST + body)).toMatch(/^HTTP\/1\.1 413 [\s\S]*Connection: close/);
		}
		const got = await ask2(session, { ":method": "POST" }, Buffer.alloc(100_000));
		expect(got.headers[":status"]).toBe(413);
		const told = await ask2(session, { ":method": "POST", "content-length": "11" }, Buffer.alloc(11));
		expect(told.headers[":status"]).toBe(413);
		expect(answered).toBe(0);
	});

	it("is 500 when answering fails, and the next request is served", async () => {
		const { port, session, unexpected } = await start(({ target }) =>
			reading(10, () => {
				if (target === "/throw") throw new TypeError("thrown");
				return target === "/reject" ? Promise.reject(new TypeError("rejected")) : localResponse(200, "fine");
			}),
		);
		const client = await connect(port);
		client.write(
			`${POST.replace("/", "/throw")}\r\n${POST.replace("/", "/reject")}Content-Length: 1\r\n\r\nx${POST}\r\n`,
		);
		await client.sees("fine");
		expect(client.received.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 500", "HTTP/1.1 500", "HTTP/1.1 200"]);
		expect((await ask2(session, { ":method": "POST", ":path": "/throw" })).headers[":status"]).toBe(500);
		expect(unexpected).toHaveLength(3);
	});

	it("is 400 when its coding is broken or it ends too early", async () => {
		const { port } = await startEngine(() => reading(10));
		expect(await ask(port, `${POST}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`)).toMatch(/^HTTP\/1\.1 400 /);
		const early = await connect(port);
		early.write(`${POST}Content-Length: 5\r\n\r\nab`).end();
		expect(await early.finished()).toMatch(/^HTTP\/1\.1 400 /);
	});

	it("is 408 when it stalls, over HTTP/1.1 and HTTP/2", async () => {
		const { port, session } = await start(() => reading(10), { timeouts: { idleBody: 30, tick: 10 } });
		expect(await ask(port, `${POST}Content-Length: 5\r\n\r\nab`)).toMatch(/^HTTP\/1\.1 408 /);
		const stream = session.request({ ":path": "/", ":authority": "t", ":method": "POST" }, { endStream: false });
		stream.write("ab");
		expect((await answer(stream)).headers[":status"]).toBe(408);
	});

	it("answers at leisure, without a limit of the engine", async () => {
		let reply: (response: LocalResponse) => void = () => {};
		const whole = () => reading(10, () => new Promise((resolve) => (reply = resolve)));
		const { port } = await startEngine(whole, { timeouts: { idleBody: 20, head: 20, tick: 10 } });
		const client = await connect(port);
		client.write(`${POST}Content-Length: 2\r\n\r\nab`);
		// Its time for a head runs out meanwhile.
		await (await connect(port)).finished();
		await (await connect(port)).finished();
		reply(localResponse(200, "at last"));
		await client.sees("at last");
	});

	it("is forgotten with a client that leaves before it or before the answer", async () => {
		let reply: ((response: LocalResponse) => void) | undefined;
		const whole = () => reading(10, () => new Promise((resolve) => (reply = resolve)));
		const { port, session, engine, records, unexpected } = await start(whole);
		const client = await connect(port);
		await client.write(`${POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`).sees("100 Continue");
		client.socket.resetAndDestroy();
		const answered = await connect(port);
		answered.write(`${POST}Content-Length: 2\r\n\r\nab`);
		while (reply === undefined) await new Promise((resolve) => setImmediate(resolve));
		answered.socket.resetAndDestroy();
		while (engine.stats().clients > 0) await new Promise((resolve) => setImmediate(resolve));
		reply(localResponse(200, "late"));
		const stream = session.request({ ":path": "/", ":authority": "t", ":method": "POST" }, { endStream: false });
		stream.on("error", () => {});
		while (engine.stats().http2Requests === 0) await new Promise((resolve) => setImmediate(resolve));
		stream.close(http2.constants.NGHTTP2_CANCEL);
		while (engine.stats().http2Requests > 0) await new Promise((resolve) => setImmediate(resolve));
		expect(records.map(({ outcome }) => outcome)).toEqual(["aborted", "aborted", "aborted"]);
		expect(unexpected).toEqual([]);
	});
});
