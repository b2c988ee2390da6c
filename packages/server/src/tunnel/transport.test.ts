import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { describe, expect, test } from "vitest";
import {
	app,
	bytes,
	type Echoed,
	echo,
	hostOf,
	listen,
	openDoor,
	rawApp,
	send,
	sendForText,
	sendRaw,
	until,
} from "./transport.fixture.js";

const sha256 = (data: Buffer) => createHash("sha256").update(data).digest("hex");

describe("request fields", () => {
	test("reach the app in order, case and number", async () => {
		const door = await openDoor();
		const port = await echo();
		const response = await sendRaw(
			door,
			`GET /p?q=1 HTTP/1.1\r\nhOST: ${hostOf(port)}\r\nX-B: 1\r\nx-a: 2\r\nX-b: 3\r\nCookie: c\r\nForwarded: for=x\r\nX-Forwarded-Host: y\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: p\r\n\r\n`,
		);
		const got: Echoed = JSON.parse(response.slice(response.indexOf("{"), response.lastIndexOf("}") + 1));
		expect(got.url).toBe("/p?q=1");
		expect(got.raw).toEqual([
			...["hOST", hostOf(port), "X-B", "1", "x-a", "2", "X-b", "3", "Cookie", "c"],
			...["Forwarded", "for=x", "X-Forwarded-Host", "y"],
			...["x-runloop-request-id", expect.stringMatching(/^[0-9a-f-]{36}$/)],
			...["x-forwarded-for", "127.0.0.1", "x-real-ip", "127.0.0.1", "x-forwarded-proto", "http"],
			...["Connection", "keep-alive"],
		]);
	});

	test("carry the app's credential, not the tunnel's", async () => {
		const door = await openDoor({ target: { authMode: "authenticated", token: "s3cret" } });
		const headers = { "x-runloop-tunnel-authorization": "Bearer s3cret", authorization: "Bearer app" };
		const got = await sendForText(door, await echo(), { headers });
		expect(got).toContain("Bearer app");
		expect(got).not.toContain("s3cret");
	});

	test("POST without a body is sent with an empty one", async () => {
		const door = await openDoor();
		const port = await echo();
		const response = await sendRaw(door, `POST / HTTP/1.1\r\nHost: ${hostOf(port)}\r\nConnection: close\r\n\r\n`);
		expect(response).toContain('"Content-Length","0"');
		expect(response).not.toContain('Transfer-Encoding",');
	});

	test("an absolute target that agrees with Host is sent in origin form", async () => {
		const door = await openDoor();
		const port = await echo();
		const host = hostOf(port);
		const response = await sendRaw(
			door,
			`GET http://${host}/x?y HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
		);
		expect(response).toContain('"url":"/x?y"');
	});
});

describe("refused before it can do harm", () => {
	test.each<[string, string, number]>([
		["two Hosts", "GET / HTTP/1.1\r\nHost: HOST\r\nHost: other\r\nConnection: close\r\n\r\n", 400],
		["a target that disagrees with Host", "GET http://other/ HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 400],
		[
			"another coding",
			"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
			501,
		],
		[
			"two framings",
			"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
			400,
		],
	])("%s", async (_name, text, status) => {
		const door = await openDoor();
		let reached = 0;
		const port = await app((_req, res) => {
			reached++;
			res.end();
		});
		expect(await sendRaw(door, text.replaceAll("HOST", hostOf(port)))).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
		expect(reached).toBe(0);
	});
});

describe("response fields", () => {
	test("reach the client in order, case and number, without the hop's own", async () => {
		const door = await openDoor();
		const port = await rawApp((socket) => {
			socket.end(
				"HTTP/1.1 418 I'm A Teapot\r\nSet-Cookie: a\r\nX-Mixed: 1\r\nset-cookie: b\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nX-Runloop-Request-Id: app\r\nDate: today\r\nContent-Length: 2\r\n\r\nok",
			);
		});
		const res = await send(door, port);
		expect([res.statusCode, res.statusMessage]).toEqual([418, "I'm A Teapot"]);
		expect(res.rawHeaders).toEqual([
			...["Set-Cookie", "a", "X-Mixed", "1", "set-cookie", "b", "Date", "today", "Content-Length", "2"],
			...["x-runloop-request-id", expect.stringMatching(/^[0-9a-f-]{36}$/)],
			...["Connection", "close"],
		]);
		expect((await bytes(res)).toString()).toBe("ok");
	});

	test("name the request by the id that the app got", async () => {
		const door = await openDoor();
		const res = await send(door, await echo());
		const got: Echoed = JSON.parse((await bytes(res)).toString());
		expect(got.raw[got.raw.indexOf("x-runloop-request-id") + 1]).toBe(res.headers["x-runloop-request-id"]);
	});

	test.each([204, 304])("%d has no body and frees the connection", async (status) => {
		const door = await openDoor();
		const port = await app((_req, res) => res.writeHead(status, { etag: '"x"' }).end());
		const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
		for (let i = 0; i < 2; i++) {
			const res = await send(door, port, { agent });
			expect([res.statusCode, res.headers["transfer-encoding"], res.headers.etag]).toEqual([status, undefined, '"x"']);
			expect(await bytes(res)).toHaveLength(0);
		}
		agent.destroy();
	});

	test("HEAD keeps the length of the body that is not sent", async () => {
		const door = await openDoor();
		const port = await app((_req, res) => res.writeHead(200, { "content-length": 1234 }).end());
		const res = await send(door, port, { method: "HEAD" });
		expect(res.headers["content-length"]).toBe("1234");
		expect(await bytes(res)).toHaveLength(0);
	});
});

describe("bodies", () => {
	test("20 MB arrive unchanged there and back, chunked", async () => {
		const door = await openDoor();
		const port = await app((req, res) => req.pipe(res));
		const data = randomBytes(20 << 20);
		const res = await send(door, port, { method: "PUT", headers: { "transfer-encoding": "chunked" }, body: data });
		expect(sha256(await bytes(res))).toBe(sha256(data));
	});

	test("20 MB arrive unchanged there and back, with a length", async () => {
		const door = await openDoor();
		const port = await app(async (req, res) => {
			const body = await bytes(req);
			res.setHeader("content-length", body.length).end(body);
		});
		const data = randomBytes(20 << 20);
		const res = await send(door, port, { method: "POST", body: data });
		expect(res.headers["content-length"]).toBe(String(data.length));
		expect(sha256(await bytes(res))).toBe(sha256(data));
	});

	test("a slow reader holds the app back", async () => {
		const door = await openDoor();
		let written = 0;
		const port = await app((_req, res) => {
			const chunk = Buffer.alloc(65_536);
			const more = () => {
				do written += chunk.length;
				while (res.write(chunk) && written < 1 << 30);
			};
			res.on("drain", more);
			more();
		});
		const res = await send(door, port);
		res.pause();
		let before = -1;
		while (before !== written) {
			before = written;
			for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
		}
		expect(written).toBeLessThan(64 << 20);
		res.destroy();
	});

	test("an event reaches the client while the stream is open", async () => {
		const door = await openDoor();
		let stream: http.ServerResponse | undefined;
		const port = await app((_req, res) => {
			stream = res;
			res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
		});
		const res = await send(door, port);
		stream!.write("data: one\n\n");
		expect(String((await once(res, "data"))[0])).toBe("data: one\n\n");
		stream!.write("data: two\n\n");
		expect(String((await once(res, "data"))[0])).toBe("data: two\n\n");
		stream!.end();
	});

	test("trailers pass both ways", async () => {
		const door = await openDoor();
		const port = await app(async (req, res) => {
			await bytes(req);
			res.write("x");
			res.addTrailers({ "X-Sum": req.trailers["x-sum"] ?? "none" });
			res.end();
		});
		const req = http.request({ port: door.port, method: "POST", headers: { host: hostOf(port), trailer: "X-Sum" } });
		req.write("x");
		req.addTrailers({ "X-Sum": "42" });
		req.end();
		const [res] = (await once(req, "response")) as [http.IncomingMessage];
		await bytes(res);
		expect(res.rawTrailers).toEqual(["X-Sum", "42"]);
	});

	test("a body that ends with its connection is whole", async () => {
		const door = await openDoor();
		const port = await rawApp((socket) => socket.end("HTTP/1.0 200 OK\r\n\r\nold style"));
		expect(await sendForText(door, port)).toBe("old style");
	});
});

describe("Expect: 100-continue", () => {
	test("the app decides when the body is sent", async () => {
		const door = await openDoor();
		const server = http.createServer();
		server.on("checkContinue", async (req, res) => {
			res.writeContinue();
			res.end(await bytes(req));
		});
		const port = await listen(server);
		const req = http.request({
			port: door.port,
			method: "POST",
			headers: { host: hostOf(port), expect: "100-continue", "content-length": 4 },
		});
		req.flushHeaders();
		await once(req, "continue");
		req.end("body");
		const [res] = (await once(req, "response")) as [http.IncomingMessage];
		expect((await bytes(res)).toString()).toBe("body");
	});

	test("an app that answers at once ends the connection, since a body may or may not follow", async () => {
		const door = await openDoor();
		const server = http.createServer();
		server.on("checkContinue", (_req, res) => res.writeHead(413).end("too big"));
		const port = await listen(server);
		const response = await sendRaw(
			door,
			`POST / HTTP/1.1\r\nHost: ${hostOf(port)}\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n`,
		);
		expect(response).toMatch(/^HTTP\/1\.1 413 /);
		expect(response.toLowerCase()).toContain("connection: close");
	});
});

test("early hints pass", async () => {
	const door = await openDoor();
	const port = await app((_req, res) => {
		res.writeEarlyHints({ link: ["</a.css>; rel=preload; as=style", "</b.js>; rel=preload; as=script"] });
		res.end();
	});
	const req = http.get({ port: door.port, headers: { host: hostOf(port) } });
	const [hints] = await once(req, "information");
	expect([hints.statusCode, hints.headers.link]).toEqual([
		103,
		"</a.css>; rel=preload; as=style, </b.js>; rel=preload; as=script",
	]);
});

test("requests of one client share a connection to the app", async () => {
	const door = await openDoor();
	const ports = new Set<number>();
	const port = await app((req, res) => {
		ports.add(req.socket.remotePort!);
		res.end();
	});
	for (let i = 0; i < 5; i++) await sendForText(door, port);
	expect(ports.size).toBe(1);
});

test("the log has a line per request, without query and credentials", async () => {
	const door = await openDoor({ target: { authMode: "authenticated", token: "s3cret" } });
	const port = await echo();
	const res = await send(door, port, {
		method: "POST",
		path: "/path?token=hunter2",
		headers: { authorization: "Bearer s3cret" },
		body: "12345",
	});
	const size = (await bytes(res)).length;
	await until(() => door.lines.length > 0);
	expect(door.lines).toMatchObject([
		{
			requestId: res.headers["x-runloop-request-id"],
			devboxId: "dbx_a",
			port,
			method: "POST",
			status: 200,
			bytesIn: 5,
			bytesOut: size,
		},
	]);
	expect(JSON.stringify(door.lines)).not.toMatch(/hunter2|s3cret/);
	expect(door.tunnel.counts).toMatchObject({ requests: 1, liveRequests: 0, bytesIn: 5, bytesOut: size });
});

test("traffic counts as activity, from the first byte", async () => {
	const door = await openDoor();
	await sendForText(door, await echo());
	expect(door.directory.active.length).toBeGreaterThan(0);
});

test("a request that reaches nobody is no activity", async () => {
	const door = await openDoor();
	const server = net.createServer();
	const port = await listen(server);
	server.close();
	await once(server, "close");
	expect((await send(door, port)).statusCode).toBe(502);
	expect(door.directory.active).toEqual([]);
});
