import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import { Readable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { app, bytes, type Door, deferred, type Echoed, echo, hostOf, openDoor, until } from "./transport.fixture.js";

function session(door: Door): http2.ClientHttp2Session {
	const client = http2.connect(`http://127.0.0.1:${door.port}`);
	client.on("error", () => {});
	onTestFinished(() => client.destroy());
	return client;
}

/** Node's client refuses to queue more than 10 MB. */
function* slices(data: Buffer): Generator<Buffer> {
	for (let at = 0; at < data.length; at += 65_536) yield data.subarray(at, at + 65_536);
}

async function open(door: Door, port: number, headers: http2.OutgoingHttpHeaders, body?: Buffer) {
	const stream = session(door).request({ ":authority": hostOf(port), ...headers }, { endStream: body === undefined });
	if (body !== undefined) Readable.from(slices(body)).pipe(stream);
	const [head] = (await once(stream, "response")) as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader];
	return { stream, head };
}

describe("an HTTP/2 client", () => {
	test("reaches the app in HTTP/1.1, with Host and one Cookie", async () => {
		const door = await openDoor({ http2: true });
		const port = await echo();
		const { stream, head } = await open(door, port, {
			":path": "/p?q",
			cookie: ["a=1", "b=2"],
			"x-one": "1",
			te: "trailers",
		});
		const got: Echoed = JSON.parse(String(await bytes(stream)));
		expect(got).toMatchObject({ method: "GET", url: "/p?q" });
		expect(got.raw).toEqual([
			...["host", hostOf(port), "x-one", "1", "cookie", "a=1; b=2"],
			...["x-runloop-request-id", head["x-runloop-request-id"]],
			...["x-forwarded-for", "127.0.0.1", "x-real-ip", "127.0.0.1", "x-forwarded-proto", "http"],
			...["Connection", "keep-alive"],
		]);
	});

	test("gets the response without HTTP/1.1's connection fields", async () => {
		const door = await openDoor({ http2: true });
		const port = await app((_req, res) => {
			res.setHeader("Set-Cookie", ["a", "b"]);
			res
				.writeHead(201, "Whatever", { "X-Mixed": "1", "Keep-Alive": "timeout=1", Connection: "x-hop", "X-Hop": "1" })
				.end("ok");
		});
		const { stream, head } = await open(door, port, {});
		expect(head).toMatchObject({ ":status": 201, "x-mixed": "1", "set-cookie": ["a", "b"] });
		expect(Object.keys(head)).not.toEqual(expect.arrayContaining(["connection"]));
		expect(head["x-hop"]).toBeUndefined();
		expect(String(await bytes(stream))).toBe("ok");
	});

	test("survives an app that repeats what HTTP/2 has once", async () => {
		const door = await openDoor({ http2: true });
		const port = await app((_req, res) => {
			res.setHeader("X-Content-Type-Options", ["nosniff", "nosniff"]);
			res.end();
		});
		const { head } = await open(door, port, {});
		expect(head).toMatchObject({ ":status": 200, "x-content-type-options": "nosniff" });
	});

	test.each([{}, { "content-length": 20 << 20 }])("moves 20 MB both ways (%j)", async (headers) => {
		const door = await openDoor({ http2: true });
		const port = await app((req, res) => req.pipe(res));
		const data = randomBytes(20 << 20);
		const { stream } = await open(door, port, { ":method": "POST", ...headers }, data);
		const hash = (buffer: Buffer) => createHash("sha256").update(buffer).digest("hex");
		expect(hash(await bytes(stream))).toBe(hash(data));
	});

	test.each(["HEAD", "DELETE", "POST"])("%s without a body", async (method) => {
		const door = await openDoor({ http2: true });
		const { stream, head } = await open(door, await echo(), { ":method": method });
		expect(head[":status"]).toBe(200);
		const text = String(await bytes(stream));
		if (method === "HEAD") expect(text).toBe("");
		else expect(JSON.parse(text)).toMatchObject({ method, body: "" });
	});

	test("gets the app's trailers", async () => {
		const door = await openDoor({ http2: true });
		const port = await app((_req, res) => {
			res.write("x");
			res.addTrailers({ "X-Sum": "42" });
			res.end();
		});
		const { stream } = await open(door, port, {});
		const trailers = once(stream, "trailers");
		await bytes(stream);
		expect((await trailers)[0]).toMatchObject({ "x-sum": "42" });
	});

	test("gets our own answers", async () => {
		const door = await openDoor({ http2: true });
		const stream = session(door).request({ ":authority": "80-nobody.tunnel.test" });
		const [head] = await once(stream, "response");
		expect(head[":status"]).toBe(404);
		expect(JSON.parse(String(await bytes(stream))).error.code).toBe("tunnel_not_found");
	});

	test.each([{ ":path": "/a HTTP/1.1" }, { ":path": "no-slash" }, { ":path": "http://10.0.0.1/" }])(
		"cannot put into %j what HTTP/1.1 would read as something else",
		async (headers) => {
			const door = await openDoor({ http2: true });
			let reached = false;
			const port = await app((_req, res) => {
				reached = true;
				res.end();
			});
			await expect(open(door, port, headers)).rejects.toThrow("PROTOCOL_ERROR");
			expect(reached).toBe(false);
		},
	);

	test.each([undefined, new Error("gone")])(
		"that resets its upload (%s) leaves the app with an error, not with a short body",
		async (why) => {
			const door = await openDoor({ http2: true });
			const outcome = deferred<string>();
			const arrived = deferred<void>();
			const port = await app((req) => {
				req.once("data", () => arrived.resolve());
				req.once("end", () => outcome.resolve("end"));
				req.once("aborted", () => outcome.resolve("aborted"));
			});
			const stream = session(door).request({ ":method": "POST", ":authority": hostOf(port) });
			stream.on("error", () => {});
			stream.write("some");
			await arrived.promise;
			// Node's `close` would end the body cleanly before it resets the stream.
			stream.destroy(why);
			expect(await outcome.promise).toBe("aborted");
		},
	);

	test("that resets its stream during the answer ends the app's", async () => {
		const door = await openDoor({ http2: true });
		const gone = deferred<void>();
		const port = await app((_req, res) => {
			res.on("close", () => gone.resolve());
			res.write("x");
		});
		const { stream } = await open(door, port, {});
		stream.close(http2.constants.NGHTTP2_CANCEL);
		await gone.promise;
		await until(() => door.tunnel.counts.liveRequests === 0);
	});

	test("sees an answer that broke off as an error", async () => {
		const door = await openDoor({ http2: true });
		const port = await app((_req, res) => {
			res.write("half", () => res.destroy());
		});
		const { stream } = await open(door, port, {});
		await expect(bytes(stream)).rejects.toThrow();
		expect(stream.rstCode).not.toBe(0);
	});
});
