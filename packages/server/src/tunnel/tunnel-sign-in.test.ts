import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { describe, expect, onTestFinished, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import {
	app,
	bytes,
	type Door,
	type Echoed,
	echo,
	hostOf,
	listen,
	openDoor,
	send,
	sendForText,
	sendRaw,
} from "./door.fixture.js";

const secured = { authMode: "authenticated", token: "s3cret" } as const;
const signInPath = "/.well-known/gangway/sign-in";

interface Answer {
	readonly status: number;
	readonly headers: Record<string, string | string[] | undefined>;
	readonly body: string;
}

type Ask = (
	port: number,
	path: string,
	headers?: Record<string, string | string[]>,
	method?: string,
	body?: string,
) => Promise<Answer>;

/** The same requests over both versions of HTTP. */
const versions: readonly [string, boolean, (door: Door) => Ask][] = [
	[
		"HTTP/1.1",
		false,
		(door) =>
			async (port, path, headers = {}, method = "GET", body = "") => {
				const res = await send(door, port, { path, headers, method, body });
				return { status: res.statusCode!, headers: res.headers, body: String(await bytes(res)) };
			},
	],
	[
		"HTTP/2",
		true,
		(door) => {
			const session = http2.connect(`http://127.0.0.1:${door.port}`);
			onTestFinished(() => session.destroy());
			return async (port, path, headers = {}, method = "GET", body) => {
				const stream = session.request({ ":authority": hostOf(port), ":path": path, ":method": method, ...headers });
				stream.end(body);
				const [head] = (await once(stream, "response")) as [http2.IncomingHttpHeaders & { ":status": number }];
				return { status: head[":status"], headers: head, body: String(await bytes(stream)) };
			};
		},
	],
];

describe.each(versions)("over %s", (_version, isHttp2, asker) => {
	const open = async (change: object = {}) => {
		const door = await openDoor({ http2: isHttp2, target: { ...secured, ...change } });
		return { door, ask: asker(door) };
	};

	const signIn = async (ask: Ask, port: number) => {
		const headers = { origin: `http://${hostOf(port)}`, "content-type": "application/x-www-form-urlencoded" };
		return ask(port, signInPath, headers, "POST", "return=%2Fnext%3Fa&token=s3cret");
	};

	test("signing in sets a cookie that lets in, and that the app never sees", async () => {
		const { ask } = await open();
		const port = await echo();
		const response = await signIn(ask, port);
		expect(response).toMatchObject({ status: 303, headers: { location: "/next?a" } });
		const [cookie] = response.headers["set-cookie"]![0]!.split(";");
		for (const [sent, seen] of [
			[`a=1; ${cookie}; b=2`, ["a=1; b=2"]],
			[["a=1", cookie!, "b=2"], ["a=1; b=2"]],
			[cookie!, []],
		] as const) {
			const page = await ask(port, "/next", { cookie: sent as string | string[] });
			expect(page.status).toBe(200);
			const { raw }: Echoed = JSON.parse(page.body);
			const cookies = raw.filter((_, i) => i % 2 === 1 && raw[i - 1]!.toLowerCase() === "cookie");
			expect(cookies).toEqual(seen);
			expect(page.body).not.toContain("gangway=");
		}
	});

	test("the cookie of one port is 401 at another", async () => {
		const { ask } = await open();
		const [one, other] = [await echo(), await echo()];
		const [cookie] = (await signIn(ask, one)).headers["set-cookie"]![0]!.split(";");
		expect((await ask(one, "/", { cookie: cookie! })).status).toBe(200);
		expect((await ask(other, "/", { cookie: cookie! })).status).toBe(401);
	});

	test("a body that is no form of ours is cut off", async () => {
		const { ask } = await open();
		const port = await echo();
		const headers = { origin: `http://${hostOf(port)}` };
		const response = await ask(port, signInPath, headers, "POST", "x".repeat(9_000));
		expect(response.status).toBe(413);
		expect(JSON.parse(response.body).error.code).toBe("body_too_large");
	});

	test("the app cannot set Gangway's cookie, and its own pass", async () => {
		const { ask } = await open();
		const port = await app((_req, res) => {
			res.setHeader("Set-Cookie", ["a=1", "__Host-gangway=mine; Path=/; Secure", "b=2"]);
			res.end();
		});
		const response = await ask(port, "/", { authorization: "Bearer s3cret" });
		expect(response.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
	});

	test("a preflight of the same tunnel's other port is answered before any app", async () => {
		const { ask, door } = await open();
		const origin = "http://3000-keya.tunnel.test";
		const headers = { origin, "access-control-request-method": "PUT" };
		const response = await ask(8080, "/", headers, "OPTIONS");
		expect(response).toMatchObject({ status: 204, body: "", headers: { "access-control-allow-origin": origin } });
		expect(door.directory.active).toEqual([]);
	});

	test("a port whose rule is host_header: localhost has that as its one Host", async () => {
		const port = await echo();
		const { ask } = await open({ authMode: "open", portRules: new Map([[port, { hostHeader: "localhost" }]]) });
		const { raw }: Echoed = JSON.parse((await ask(port, "/")).body);
		const hosts = raw.filter((_, i) => i % 2 === 1 && raw[i - 1]!.toLowerCase() === "host");
		expect(hosts).toEqual([`localhost:${port}`]);
		expect(raw).toContain(hostOf(port));
	});
});

test("nothing secret is in the log: no query, no cookie, no token", async () => {
	const door = await openDoor({ target: secured, level: "trace" });
	const port = await echo();
	for (const path of ["/?gangway_token=s3cret", "/?gangway_token=wr0ng", "/?gangway_share=wr0ng"]) {
		await sendForText(door, port, { path });
		await sendForText(door, port, { path, method: "POST" });
	}
	const headers = { origin: `http://${hostOf(port)}` };
	await sendForText(door, port, { path: signInPath, method: "POST", headers, body: "token=s3cret" });
	await sendForText(door, port, { path: "/?q=wr0ng", headers: { authorization: "Bearer s3cret", cookie: "c=wr0ng" } });
	expect(door.lines).toHaveLength(8);
	expect(JSON.stringify(door.lines)).not.toMatch(/s3cret|wr0ng|gangway/);
});

test.each([
	["malformed", "GET / HTTP/1.1\r\nbad line\r\n\r\n", 400, "bad_request"],
	["too large", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431, "head_too_large"],
	["of another version", "GET / HTTP/3.0\r\n\r\n", 505, "version_not_supported"],
])("a request that is %s is told so as every other error is, with an id", async (_what, text, status, code) => {
	const door = await openDoor();
	const response = await sendRaw(door, text);
	expect(response).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
	expect(response).toContain("cache-control: no-store\r\n");
	const { error, request_id } = JSON.parse(response.slice(response.indexOf("\r\n\r\n")));
	expect(error.code).toBe(code);
	expect(response).toContain(`x-runloop-request-id: ${request_id}\r\n`);
});

describe("a WebSocket of a signed-in browser", () => {
	const dial = async (origin: (port: number) => string | undefined) => {
		const door = await openDoor({ target: secured });
		const server = http.createServer();
		new WebSocketServer({ server }).on("connection", (socket) => socket.send("hello"));
		const port = await listen(server);
		const res = await send(door, port, { path: "/?gangway_token=s3cret" });
		const [cookie] = res.headers["set-cookie"]![0]!.split(";");
		const socket = new WebSocket(`ws://127.0.0.1:${door.port}/`, {
			headers: { host: hostOf(port), cookie },
			origin: origin(port),
		});
		onTestFinished(() => socket.terminate());
		return socket;
	};

	test.each([(port: number) => `http://${hostOf(port)}`, () => `http://${hostOf(1)}`])(
		"opens from its own page, and from another port's",
		async (origin) => {
			const [message] = await once(await dial(origin), "message");
			expect(String(message)).toBe("hello");
		},
	);

	test.each(["http://3000-keyb.tunnel.test", "null", undefined])("does not open from %s", async (origin) => {
		const [error] = await once(await dial(() => origin), "error");
		expect(String(error)).toContain("403");
	});
});
