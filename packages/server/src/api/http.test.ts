/** Requests as the edge hands them over: real sockets, HTTP/1.1 and HTTP/2. */
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import {
	type ClientHttp2Session,
	connect,
	createServer as createHttp2Server,
	type IncomingHttpHeaders,
} from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApi, validKey } from "./fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
let server: Server;
let origin: string;

async function listen(make: (handler: (...pair: never[]) => void) => unknown): Promise<void> {
	fake = await fakeApi({ limits: { bodyBytes: 1000 } });
	server = make(fake.api.handler as never) as Server;
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const headers = { authorization: `Bearer ${validKey}`, "content-type": "application/json" };

describe("HTTP/1.1", () => {
	beforeEach(() => listen((handler) => createHttpServer(handler as never)));
	afterEach(async () => {
		await fake.api.close();
		server.close();
	});

	test("a create", async () => {
		const response = await fetch(`${origin}/v1/devboxes`, { method: "POST", headers, body: '{"name":"a"}' });
		expect([response.status, ((await response.json()) as { name: string }).name]).toEqual([200, "a"]);
	});

	test("a wait is not cut short when the body has been read, and ends when its client has gone", async () => {
		await endsWithItsClient(async (path, body, gone) => {
			const answer = fetch(`${origin}${path}`, { method: "POST", headers, body, signal: gone });
			await answer.catch(() => {});
		});
	});

	test("close lets the answers that are under way go out", async () => {
		fake.devboxes.bootsTo = undefined;
		const answer = fetch(`${origin}/v1/devboxes/create_and_await_running`, { method: "POST", headers, body: "{}" });
		await expect.poll(() => fake.devboxes.calls).toContain("waitForStatus");
		await fake.api.close();
		expect((await answer).status).toBe(200);
		expect((await fetch(`${origin}/v1/devboxes`, { headers })).status).toBe(503);
	});
});

describe("HTTP/2", () => {
	let client: ClientHttp2Session;
	beforeEach(async () => {
		await listen((handler) => createHttp2Server(handler as never));
		client = connect(origin);
	});
	afterEach(async () => {
		client.destroy();
		await fake.api.close();
		server.close();
	});

	async function request(method: string, path: string, body?: string): Promise<[number, string, IncomingHttpHeaders]> {
		const stream = client.request({ ":method": method, ":path": path, ...headers });
		stream.end(body);
		const [head] = (await once(stream, "response")) as [IncomingHttpHeaders & { ":status": number }];
		return [head[":status"], await text(stream), head];
	}

	test("calls with and without a body, on one connection", async () => {
		const [status, body] = await request("POST", "/v1/devboxes", '{"name":"a"}');
		expect([status, JSON.parse(body).name]).toEqual([200, "a"]);
		const [, key] = await request("POST", `/v1/devboxes/${JSON.parse(body).id}/create_ssh_key`);
		expect(JSON.parse(key)).toHaveProperty("ssh_private_key");
	});

	test("refusals that close an HTTP/1.1 connection leave this one open", async () => {
		expect((await request("POST", "/v1/devboxes", "{"))[0]).toBe(400);
		const [status, body] = await request("POST", "/v1/devboxes", JSON.stringify({ name: "x".repeat(2000) }));
		expect([status, JSON.parse(body).code]).toEqual([413, "payload_too_large"]);
		expect((await request("GET", "/nope"))[0]).toBe(404);
		expect((await request("GET", "/v1/devboxes"))[0]).toBe(200);
	});

	test("a peer on this machine may read /metrics; static files are served", async () => {
		expect((await request("GET", "/metrics"))[0]).toBe(200);
		const [status, script] = await request("GET", "/docs/static/swagger-ui-bundle.js");
		expect([status, script.length > 100_000]).toEqual([200, true]);
	});

	test("a wait ends when its client has gone", async () => {
		await endsWithItsClient(async (path, body, gone) => {
			const stream = client.request({ ":method": "POST", ":path": path, ...headers });
			stream.on("error", () => {});
			gone.addEventListener("abort", () => stream.close(8 /* CANCEL */));
			stream.end(body);
		});
		expect((await request("GET", "/healthz"))[0]).toBe(200);
	});

	test("a connection that breaks in the middle of a wait harms nobody else", async () => {
		await endsWithItsClient(async (path, body, gone) => {
			client.on("error", () => {});
			const stream = client.request({ ":method": "POST", ":path": path, ...headers });
			stream.on("error", () => {});
			gone.addEventListener("abort", () => client.destroy());
			stream.end(body);
		});
		client = connect(origin);
		expect((await request("GET", "/v1/devboxes"))[0]).toBe(200);
		await expect.poll(() => fake.logLines.join("")).toContain("the client left before its answer");
	});
});

async function endsWithItsClient(
	send: (path: string, body: string, gone: AbortSignal) => Promise<void>,
): Promise<void> {
	fake.devboxes.bootsTo = undefined;
	const { id } = (await fake.post("/v1/devboxes")).json();
	const gone = new AbortController();
	const over = once(fake.devboxes.events, "wait over");
	let ended = false;
	void over.then(() => {
		ended = true;
	});
	void send(`/v1/devboxes/${id}/wait_for_status`, '{"statuses":["running"]}', gone.signal);
	await expect.poll(() => fake.devboxes.calls).toContain("waitForStatus");
	// A later request is answered while the first is still held.
	await fake.get(`/v1/devboxes/${id}`);
	expect(ended).toBe(false);
	gone.abort();
	await over;
}
