/** Clients, and apps, that are up to no good: neither gets further than a private tunnel lets them. */
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { exchange, sendRaw } from "./support/raw.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let door: Door;
let open: Door;

beforeAll(async () => {
	daemon = await Daemon.start({
		env: {
			GANGWAY_TUNNEL_HEAD_TIMEOUT: "1",
			GANGWAY_TUNNEL_IDLE_TIMEOUT: "1",
			GANGWAY_TUNNEL_REQUESTS: "2",
			GANGWAY_TUNNEL_ADDRESS_REQUESTS: "3",
		},
	});
	[door, open] = await Promise.all([
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } })),
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open" } })),
	]);
});
afterAll(() => daemon?.remove());

describe("where a request goes", () => {
	test.each(["http://127.0.0.1/v1/devboxes", "http://169.254.169.254/", "127.0.0.1:80", "*"])(
		"is not for the target %s to say",
		async (target) => {
			const answer = await curl(...door.credential, "--request-target", target, door.url());
			expect(answer.status).toBe(400);
		},
	);

	test.each(["//127.0.0.1/echo", "/../../echo", "/%2e%2e/echo"])("is its own box, with the path %s", async (target) => {
		const answer = await curl(...door.credential, "--path-as-is", "--request-target", target, door.url());
		expect(JSON.parse(answer.text)).toMatchObject({ url: target, port: 8080 });
	});

	test("is not for the app to say: its redirects are the client's to follow", async () => {
		const elsewhere = `http://127.0.0.1:${daemon.endpoints.http_port}/v1/devboxes`;
		const raw = `HTTP/1.1 302 Found\r\nLocation: ${elsewhere}\r\nContent-Length: 0\r\n\r\n`;
		const answer = await curl(...door.credential, "--data-binary", raw, door.url("/raw"));
		expect(answer).toMatchObject({ status: 302, headers: { location: elsewhere } });
	});
});

describe("a second request smuggled into the first", () => {
	const inner = "POST /posts HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled";

	test.each<[string, string[], string]>([
		["Content-Length and Transfer-Encoding", ["Content-Length: 4", "Transfer-Encoding: chunked"], `0\r\n\r\n${inner}`],
		["two lengths", ["Content-Length: 0", `Content-Length: ${inner.length}`], inner],
		["a coding written oddly", ["Transfer-Encoding: xchunked", "Content-Length: 0"], inner],
		["a length with a sign", ["Content-Length: +0"], inner],
		["a name with a space", [`Content-Length : ${inner.length}`], inner],
	])("by %s reaches no private box", async (_, lines, body) => {
		const host = `Host: ${door.host()}:${daemon.endpoints.http_port}`;
		const credential = `X-Runloop-Tunnel-Authorization: Bearer ${door.token}`;
		const { head } = await sendRaw(
			daemon.endpoints.http_port,
			["POST /echo HTTP/1.1", host, credential, ...lines],
			body,
		);
		expect(head[0]).toMatch(/^HTTP\/1\.1 (400|501) /);
		expect((await curl(...door.credential, door.url("/posts"))).text).toBe("[]");
	});

	test("by its body is a request of its own, with no credential", async () => {
		const host = `Host: ${door.host()}:${daemon.endpoints.http_port}`;
		const first = ["POST /echo HTTP/1.1", host, `Authorization: Bearer ${door.token}`, "Content-Length: 0"];
		const second = `POST /posts HTTP/1.1\r\n${host}\r\nConnection: close\r\nContent-Length: 8\r\n\r\nsmuggled`;
		const { head, body } = await sendRaw(daemon.endpoints.http_port, first, second);
		expect(head[0]).toBe("HTTP/1.1 200 OK");
		expect(body).toContain("HTTP/1.1 401 Unauthorized");
		expect((await curl(...door.credential, door.url("/posts"))).text).toBe("[]");
	});
});

describe("a client that dawdles is cut off", () => {
	test.each([
		["with its head", (host: string) => `GET /echo HTTP/1.1\r\nHost: ${host}\r\nX-Slow: `],
		["with its body", (host: string) => `POST /sink HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\nhalf`],
	])("%s: 408", async (_, request) => {
		expect(await exchange(daemon.endpoints.http_port, request(open.host()))).toMatch(/^HTTP\/1\.1 408 /);
	});
});

describe("too much at a time is 429", () => {
	const sockets: WebSocket[] = [];
	afterEach(() => {
		for (const socket of sockets.splice(0)) socket.terminate();
	});

	/** Once there is room: what an earlier test has ended may be on its way out still. */
	const openSocket = (to: Door) => until("a WebSocket is let in", () => connect(to));

	async function connect(to: Door): Promise<true> {
		const headers = { Authorization: `Bearer ${to.token}` };
		const socket = new WebSocket(to.url("/").replace("http", "ws"), { lookup, headers } as ClientOptions);
		sockets.push(socket);
		await once(socket, "open");
		return true;
	}

	test("for one tunnel, until something ends; another tunnel is not concerned", async () => {
		await openSocket(open);
		await openSocket(open);
		const answer = await curl(open.url());
		expect(answer).toMatchObject({ status: 429, headers: { "retry-after": "5", "cache-control": "no-store" } });
		expect(JSON.parse(answer.text).error).toMatchObject({
			code: "too_many_requests",
			message: expect.stringContaining("tunnel"),
		});
		expect((await curl(...door.credential, door.url())).status).toBe(200);
		sockets[0]!.terminate();
		await until("there is room again", async () => (await curl(open.url())).status === 200);
	});

	test("for one client, over all tunnels, and before its token is looked at", async () => {
		await openSocket(open);
		await openSocket(open);
		await openSocket(door);
		for (const credential of [door.credential, []])
			expect(JSON.parse((await curl(...credential, door.url())).text).error).toMatchObject({
				code: "too_many_requests",
				message: expect.stringContaining("Your address"),
			});
	});
});
