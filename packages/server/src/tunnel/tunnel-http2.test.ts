import { once } from "node:events";
import http2 from "node:http2";
import { describe, expect, onTestFinished, test } from "vitest";
import { app, bytes, type Door, deferred, type Echoed, echo, hostOf, openDoor, until } from "./door.fixture.js";

function session(door: Door): http2.ClientHttp2Session {
	const client = http2.connect(`http://127.0.0.1:${door.port}`);
	client.on("error", () => {});
	onTestFinished(() => client.destroy());
	return client;
}

async function open(door: Door, port: number, headers: http2.OutgoingHttpHeaders = {}) {
	const stream = session(door).request({ ":authority": hostOf(port), ...headers });
	const [head] = (await once(stream, "response")) as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader];
	return { stream, head };
}

describe("an HTTP/2 client", () => {
	test("reaches the app in HTTP/1.1, with Host, one Cookie and what the tunnel vouches for", async () => {
		const door = await openDoor({ http2: true });
		const port = await echo();
		const { stream, head } = await open(door, port, {
			":path": "/p?q",
			cookie: ["a=1", "b=2"],
			"x-one": "1",
			"x-runloop-request-id": "mine",
			te: "trailers",
		});
		const got: Echoed = JSON.parse(String(await bytes(stream)));
		expect(got).toMatchObject({ method: "GET", url: "/p?q" });
		expect(got.raw).toEqual([
			...["Host", hostOf(port), "x-one", "1", "cookie", "a=1; b=2"],
			...["x-runloop-request-id", head["x-runloop-request-id"]],
			...["x-forwarded-for", "127.0.0.1", "x-real-ip", "127.0.0.1", "x-forwarded-proto", "http"],
		]);
	});

	test("gets the response without HTTP/1.1's connection fields, and our request id for the app's", async () => {
		const door = await openDoor({ http2: true });
		const port = await app((_req, res) => {
			res.setHeader("Set-Cookie", ["a", "b"]);
			const hop = { "Keep-Alive": "timeout=1", Connection: "x-hop", "X-Hop": "1" };
			res
				.writeHead(201, "Whatever", { "X-Mixed": "1", "X-Runloop-Request-Id": "app", Date: "today", ...hop })
				.end("ok");
		});
		const { stream, head } = await open(door, port);
		expect(head).toMatchObject({ ":status": 201, "x-mixed": "1", "set-cookie": ["a", "b"], date: "today" });
		expect(head["x-runloop-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
		for (const name of ["connection", "keep-alive", "x-hop"]) expect(head).not.toHaveProperty(name);
		expect(String(await bytes(stream))).toBe("ok");
	});

	test("survives an app that repeats what HTTP/2 has once", async () => {
		const door = await openDoor({ http2: true });
		const port = await app((_req, res) => {
			res.setHeader("X-Content-Type-Options", ["nosniff", "other"]);
			res.setHeader("Vary", ["a", "b"]);
			res.end();
		});
		const { head } = await open(door, port);
		expect(head).toMatchObject({ ":status": 200, "x-content-type-options": "nosniff", vary: "a, b" });
	});

	test("gets our own answers", async () => {
		const door = await openDoor({ http2: true });
		const stream = session(door).request({ ":authority": "80-nobody.tunnel.test" });
		const [head] = await once(stream, "response");
		expect(head[":status"]).toBe(404);
		expect(JSON.parse(String(await bytes(stream)))).toMatchObject({
			error: { code: "tunnel_not_found" },
			request_id: head["x-runloop-request-id"],
		});
	});

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

	test("is in the log and in the counts", async () => {
		const door = await openDoor({ http2: true });
		const { stream, head } = await open(door, await echo(), { ":path": "/?token=hunter2" });
		const size = (await bytes(stream)).length;
		await until(() => door.lines.length > 0);
		expect(door.lines).toMatchObject([
			{ requestId: head["x-runloop-request-id"], devboxId: "dbx_a", status: 200, bytesOut: size, outcome: "proxied" },
		]);
		expect(JSON.stringify(door.lines)).not.toContain("hunter2");
		expect(door.tunnel.counts).toMatchObject({ requests: { proxied: 1 }, bytesOut: size });
	});
});
