/** The HTTP door of a devbox, with the clients that people have: curl, ws, node's own. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { join } from "node:path";
import type Runloop from "@runloop/api-client";
import type { RunloopSDK } from "@runloop/api-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import { shell } from "./support/cli.js";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let devboxes: RunloopSDK["api"]["devboxes"];
/** Boxes that most tests share. `silent` runs nothing, from the start on. */
let open: Door;
let secured: Door;
let silent: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	devboxes = daemon.sdk().api.devboxes;
	[silent, open, secured] = await Promise.all([
		Door.of({ tunnel: { auth_mode: "open" } }),
		Door.of(withWebServer({ tunnel: { auth_mode: "open" } })),
		Door.of(withWebServer({ tunnel: { auth_mode: "authenticated" } })),
	]);
});
afterAll(() => daemon?.remove());

type CreateParams = Runloop.DevboxCreateParams;

/** A devbox seen through its tunnel. */
class Door {
	private constructor(
		readonly id: string,
		readonly key: string,
		readonly token: string,
	) {}

	static async of(params: CreateParams): Promise<Door> {
		const { id, tunnel } = await devboxes.createAndAwaitRunning(params);
		return new Door(id, tunnel!.tunnel_key, tunnel!.auth_token ?? "");
	}

	url(path = "/echo", port = 8080): string {
		return daemon.tunnelUrl(this.key, port, path);
	}

	secureUrl(path = "/echo", port = 8080): string {
		return `https://${this.host(port)}:${daemon.endpoints.tls_port}${path}`;
	}

	host(port = 8080): string {
		return `${port}-${this.key}.tunnel.${daemon.endpoints.domain}`;
	}

	async status(): Promise<string> {
		return (await devboxes.retrieve(this.id)).status;
	}

	async suspend(): Promise<void> {
		await devboxes.suspend(this.id);
		await devboxes.awaitSuspended(this.id);
	}
}

interface Echo {
	readonly method: string;
	readonly url: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly rawHeaders: readonly string[];
	readonly body: string;
}

async function echo(...args: string[]): Promise<Echo> {
	const answer = await curl(...args);
	expect(answer.status, answer.text).toBe(200);
	return JSON.parse(answer.text);
}

const ca = () => ["--cacert", daemon.endpoints.ca_cert];

describe("a request reaches the box", () => {
	test.each<[string, () => string[], string]>([
		["plain HTTP/1.1", () => [open.url()], "1.1"],
		["plain HTTP/2", () => ["--http2-prior-knowledge", open.url()], "2"],
		["TLS HTTP/1.1", () => [...ca(), "--http1.1", open.secureUrl()], "1.1"],
		["TLS HTTP/2", () => [...ca(), "--http2", open.secureUrl()], "2"],
	])("over %s", async (_, args, version) => {
		const answer = await curl(...args(), "-d", "some body");
		expect(answer).toMatchObject({ status: 200, version, headers: { "x-from-the-box": "yes" } });
		expect(JSON.parse(answer.text)).toMatchObject({ method: "POST", url: "/echo", body: "some body" });
	});

	test("with method, path and query as they are; the box's status comes back", async () => {
		const path = "/echo?status=418&a=%2F%20b&c=d";
		const answer = await curl("-X", "PATCH", "-d", "x", open.url(path));
		expect(answer.status).toBe(418);
		expect(JSON.parse(answer.text)).toMatchObject({ method: "PATCH", url: path });
		expect(await curl(open.url("/nothing"))).toMatchObject({ status: 404, text: "the box has no such page" });
		expect(await curl("-I", open.url("/echo"))).toMatchObject({ status: 200, text: "" });
	});

	test("several Set-Cookie fields stay several", async () => {
		const answer = await curl(open.url("/cookies"));
		expect(answer.headers["set-cookie"]).toBe("a=1; Path=/, b=2; Path=/");
	});
});

describe("header rules", () => {
	test("Host stays, hop-by-hop fields go, the rest arrives", async () => {
		const { headers } = await echo(
			...["-H", "Connection: keep-alive, X-Only-Here", "-H", "X-Only-Here: 1", "-H", "Keep-Alive: timeout=5"],
			...["-H", "TE: trailers", "-H", "Proxy-Authorization: Basic eA==", "-H", "Cookie: a=1; b=2"],
			...["-H", "Authorization: Basic eDp5", "-H", "X-Forwarded-Host: elsewhere", "-H", "Forwarded: for=1.2.3.4"],
			open.url(),
		);
		expect(headers).toMatchObject({
			host: `${open.host()}:${daemon.endpoints.http_port}`,
			cookie: "a=1; b=2",
			authorization: "Basic eDp5",
			"x-forwarded-host": "elsewhere",
			forwarded: "for=1.2.3.4",
		});
		for (const gone of ["x-only-here", "keep-alive", "te", "proxy-authorization"])
			expect(headers).not.toHaveProperty(gone);
	});

	test("who the client is says Gangway, not the client", async () => {
		const lies = ["-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Real-IP: 6.6.6.6", "-H", "X-Forwarded-Proto: gopher"];
		const told = { "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1" };
		expect((await echo(...lies, open.url())).headers).toMatchObject({ ...told, "x-forwarded-proto": "http" });
		const { headers } = await echo(...lies, ...ca(), open.secureUrl());
		expect(headers).toMatchObject({ ...told, "x-forwarded-proto": "https" });
	});

	test("each request has an id of its own, whatever the client sends", async () => {
		const forged = ["-H", "X-Runloop-Request-Id: mine"];
		const ids = await Promise.all(
			[1, 2].map(async () => (await echo(...forged, open.url())).headers["x-runloop-request-id"]),
		);
		expect(new Set([...ids, "mine"]).size).toBe(3);
	});
});

describe("an authenticated tunnel", () => {
	const bearer = (name: string, token: string) => ["-H", `${name}: Bearer ${token}`];

	test("X-Runloop-Tunnel-Authorization lets in and goes no further; the app's own Authorization does", async () => {
		const { headers } = await echo(
			...bearer("X-Runloop-Tunnel-Authorization", secured.token),
			...bearer("Authorization", "of-the-app"),
			secured.url(),
		);
		expect(headers.authorization).toBe("Bearer of-the-app");
		expect(headers).not.toHaveProperty("x-runloop-tunnel-authorization");
	});

	test("Authorization lets in and goes no further", async () => {
		const { headers } = await echo(...bearer("Authorization", secured.token), ...ca(), secured.secureUrl());
		expect(headers).not.toHaveProperty("authorization");
	});

	test.each<[string, () => string[]]>([
		["no credential", () => []],
		["a wrong token", () => bearer("Authorization", "x".repeat(32))],
		["another scheme", () => ["-u", `user:${secured.token}`]],
		[
			"a wrong token where the right one does not decide",
			() => [...bearer("X-Runloop-Tunnel-Authorization", "wrong"), ...bearer("Authorization", secured.token)],
		],
	])("401 for %s", async (_, args) => {
		const answer = await curl(...args(), secured.url());
		expect(answer.status).toBe(401);
		expect(answer.headers["www-authenticate"]).toMatch(/^Bearer /);
		expect(JSON.parse(answer.text).error.code).toBe("unauthorized");
	});

	test("X-Runloop-Host names it from under another host, and is not forwarded", async () => {
		const url = `http://localhost:${daemon.endpoints.http_port}/echo`;
		const named = ["-H", `X-Runloop-Host: ${secured.host()}`, "-H", "Host: app.example.com"];
		expect((await curl(...named, url)).status).toBe(401);
		const { headers } = await echo(...named, ...bearer("Authorization", secured.token), url);
		expect(headers.host).toBe("app.example.com");
		expect(headers).not.toHaveProperty("x-runloop-host");
	});

	test("X-Runloop-Host does not lead to an open one", async () => {
		const url = `http://localhost:${daemon.endpoints.http_port}/echo`;
		const answer = await curl("-H", `X-Runloop-Host: ${open.host()}`, "-H", "Host: app.example.com", url);
		expect(answer.status).not.toBe(200);
	});

	test("other parameters mean another token at the same URL, and the old one is void at once", async () => {
		const door = await Door.of(withWebServer({ tunnel: { auth_mode: "authenticated" } }));
		const changed = await devboxes.enableTunnel(door.id, { auth_mode: "authenticated", wake_on_http: true });
		expect(changed.tunnel_key).toBe(door.key);
		expect((await curl(...bearer("Authorization", door.token), door.url())).status).toBe(401);
		expect((await curl(...bearer("Authorization", changed.auth_token!), door.url())).status).toBe(200);
		await devboxes.removeTunnel(door.id);
		expect((await curl(...bearer("Authorization", changed.auth_token!), door.url())).status).toBe(404);
		await devboxes.shutdown(door.id);
	});
});

/** `*.localhost` is known to curl and to browsers only. */
const lookup: LookupFunction = (_host, options, found) => {
	if (options.all) found(null, [{ address: "127.0.0.1", family: 4 }]);
	else found(null, "127.0.0.1", 4);
};

describe("streams", () => {
	test("an event is there before the next one is written", async () => {
		const request = get(open.url("/events"), { lookup });
		const [response] = (await once(request, "response")) as [IncomingMessage];
		const [first] = await once(response, "data");
		expect(String(first)).toBe("data: first\n\n");
		const following = once(response, "data");
		await curl(open.url("/next"));
		const [second] = await following;
		expect(String(second)).toBe("data: second\n\n");
		response.destroy();
	});

	test("50 MB up and down come through unchanged", async () => {
		const file = join(daemon.dataDir, "50MB");
		const content = randomBytes(50_000_000);
		const digest = createHash("sha256").update(content).digest("hex");
		await writeFile(file, content);
		for (const [url, ...flags] of [
			[open.url("/file")],
			[open.secureUrl("/file"), ...ca(), "--http2"],
			[open.secureUrl("/file"), ...ca(), "--http1.1"],
		] as string[][]) {
			expect((await curl(...flags, "-T", file, url!)).text).toBe(digest);
			const down = await shell(`curl -sS ${flags.join(" ")} '${url}' | sha256sum`);
			expect(down.stdout.toString().split(" ")[0]).toBe(digest);
		}
	});
});

describe("WebSockets", () => {
	async function connect(url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<WebSocket> {
		const socket = new WebSocket(url.replace("http", "ws"), protocols, { lookup, ...options } as ClientOptions);
		await once(socket, "open");
		return socket;
	}

	test.each<[string, () => [string, ClientOptions]]>([
		["plain", () => [open.url("/"), {}]],
		["TLS", () => [open.secureUrl("/"), { rejectUnauthorized: false }]],
	])("over %s: text, binary, subprotocol, close code", async (_, target) => {
		const [url, options] = target();
		const socket = await connect(url, ["chat.v1", "chat.v2"], options);
		expect(socket.protocol).toBe("chat.v2");
		socket.send("grüße");
		const [text, isBinary] = await once(socket, "message");
		expect([String(text), isBinary]).toEqual(["grüße", false]);
		const bytes = randomBytes(1_000_000);
		socket.send(bytes);
		const [back, backIsBinary] = await once(socket, "message");
		expect(backIsBinary).toBe(true);
		expect(bytes.equals(back as Buffer)).toBe(true);
		socket.send("close 4001 enough");
		const [code, reason] = await once(socket, "close");
		expect([code, String(reason)]).toEqual([4001, "enough"]);
	});

	test("need the token of an authenticated tunnel, which the box does not see", async () => {
		await expect(connect(secured.url("/"))).rejects.toThrow("401");
		const headers = { "X-Runloop-Tunnel-Authorization": `Bearer ${secured.token}` };
		const socket = new WebSocket(secured.url("/headers").replace("http", "ws"), { lookup, headers } as ClientOptions);
		const [seen] = await once(socket, "message");
		expect(JSON.parse(String(seen))).not.toHaveProperty("x-runloop-tunnel-authorization");
		socket.terminate();
	});

	test("end when the box is suspended", async () => {
		const door = await Door.of(withWebServer({ tunnel: {} }));
		const socket = await connect(door.url("/"));
		const closed = once(socket, "close");
		await devboxes.suspend(door.id);
		await closed;
		await devboxes.shutdown(door.id);
	});
});

describe("what is not there", () => {
	test.each<[string, (door: Door) => string]>([
		["an unknown key", (door) => door.url().replace(door.key, "a".repeat(26))],
		["a malformed name", (door) => door.url().replace(`8080-${door.key}`, "nonsense")],
		["a port that is none", (door) => door.url().replace("//8080-", "//65536-")],
	])("%s is 404", async (_, url) => {
		const answer = await curl(url(open));
		expect(answer.status).toBe(404);
		expect(JSON.parse(answer.text).error.code).toBe("tunnel_not_found");
	});

	test("port 22 is refused", async () => {
		const answer = await curl(open.url("/", 22));
		expect(answer.status).toBe(403);
		expect(answer.text).toContain("SSH");
	});

	test("nothing listens: not yet, as long as the box is new; then 502 that says what to do", async () => {
		const door = await Door.of({ tunnel: {} });
		const fresh = await curl(door.url("/", 3000));
		expect(fresh).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		expect(fresh.text).toContain("3000");
		await devboxes.shutdown(door.id);
	});

	test("to a browser it is a page that reloads itself", async () => {
		const door = await Door.of({ tunnel: {} });
		const answer = await curl("-H", "Accept: text/html,application/xhtml+xml", door.url("/", 3000));
		expect(answer.status).toBe(503);
		expect(answer.headers["content-type"]).toContain("text/html");
		expect(answer.text).toMatch(/<meta http-equiv="refresh"/);
		await devboxes.shutdown(door.id);
	});
});

describe("a suspended box", () => {
	test("without a wake trigger: 503 that says so, and it sleeps on", async () => {
		const door = await Door.of(withWebServer({ tunnel: { wake_on_http: false } }));
		await door.suspend();
		const answer = await curl(door.url());
		expect(answer.status).toBe(503);
		expect(answer.headers).not.toHaveProperty("retry-after");
		expect(JSON.parse(answer.text).error.code).toBe("devbox_suspended");
		expect(await door.status()).toBe("suspended");
		await devboxes.shutdown(door.id);
	});

	test.each<[string, CreateParams]>([
		["wake_on_http", { tunnel: { wake_on_http: true } }],
		["resume_triggers.http", { tunnel: {}, launch_parameters: { lifecycle: { resume_triggers: { http: true } } } }],
	])("with %s: 503 and Retry-After, then the app", async (_, params) => {
		const door = await Door.of(withWebServer(params));
		await door.suspend();
		const first = await curl(door.url());
		expect(first).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		// As a webhook's sender does, only sooner.
		await until("the app answers", async () => (await curl(door.url())).status === 200);
		expect(await door.status()).toBe("running");
		await devboxes.shutdown(door.id);
	});

	test("a browser gets a page that reloads itself", async () => {
		const door = await Door.of(withWebServer({ tunnel: { wake_on_http: true } }));
		await door.suspend();
		const answer = await curl("-H", "Accept: text/html", door.url());
		expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		expect(answer.text).toMatch(/<meta http-equiv="refresh"/);
		await devboxes.shutdown(door.id);
	});

	test("is not woken by a request without the token", async () => {
		const door = await Door.of(withWebServer({ tunnel: { auth_mode: "authenticated", wake_on_http: true } }));
		await door.suspend();
		expect((await curl(door.url())).status).toBe(401);
		expect((await curl("-H", "Authorization: Bearer wrong", door.url())).status).toBe(401);
		expect(await door.status()).toBe("suspended");
		const token = ["-H", `Authorization: Bearer ${door.token}`];
		expect((await curl(...token, door.url())).status).toBe(503);
		await until("the app answers", async () => (await curl(...token, door.url())).status === 200);
		await devboxes.shutdown(door.id);
	});
});

describe("traffic and the idle clock", () => {
	const afterIdle = { after_idle: { idle_time_seconds: 2, on_idle: "suspend" } } as const;

	/** Requests without a pause for two idle times; the statuses that came. */
	async function traffic(url: string): Promise<Set<number>> {
		const seen = new Set<number>();
		const end = Date.now() + 4200;
		while (Date.now() < end) seen.add((await curl(url)).status);
		return seen;
	}

	test("holds off the idle suspend, unless http_keep_alive is off", async () => {
		const params = (http_keep_alive: boolean) =>
			withWebServer({ tunnel: { http_keep_alive }, launch_parameters: { ...afterIdle } });
		const [awake, sleepy] = await Promise.all([Door.of(params(true)), Door.of(params(false))]);
		const [ofAwake, ofSleepy] = await Promise.all([traffic(awake.url()), traffic(sleepy.url())]);
		expect([...ofAwake]).toEqual([200]);
		expect([...ofSleepy]).toEqual(expect.arrayContaining([200, 503]));
		await devboxes.awaitSuspended(sleepy.id);
		await devboxes.awaitSuspended(awake.id);
		await Promise.all([awake, sleepy].map(({ id }) => devboxes.shutdown(id)));
	});
});

describe("a tunnel's life", () => {
	test("it survives suspend and resume and a crash of the daemon, and ends with the box", async () => {
		const door = await Door.of(withWebServer({ tunnel: { auth_mode: "authenticated" } }));
		const ask = () => curl("-H", `Authorization: Bearer ${door.token}`, door.url());
		expect((await ask()).status).toBe(200);
		await door.suspend();
		await devboxes.resume(door.id);
		await devboxes.awaitRunning(door.id);
		expect((await ask()).status).toBe(200);
		await daemon.kill();
		await daemon.start();
		expect((await ask()).status).toBe(200);
		await devboxes.shutdown(door.id);
		expect((await ask()).status).toBe(404);
	});
});

test("where nothing listens, 502 names the port and 0.0.0.0", { timeout: 60_000 }, async () => {
	// A box is given 30 s after its start; this one has been running since the first test.
	const answer = await until(
		"the time of grace is over",
		async () => {
			const now = await curl(silent.url("/", 3000));
			return now.status !== 503 && now;
		},
		40_000,
	);
	expect(answer.status).toBe(502);
	expect(answer.headers["content-type"]).toContain("application/json");
	expect(JSON.parse(answer.text).error).toMatchObject({
		code: "nothing_listening",
		message: expect.stringMatching(/3000.*0\.0\.0\.0/),
	});
	const page = await curl("-H", "Accept: text/html", silent.url("/", 3000));
	expect(page.headers["content-type"]).toContain("text/html");
	expect(page.text).toContain("0.0.0.0");
	expect(page.text).not.toContain('http-equiv="refresh"');
	const loopback = await curl(silent.url("/", 8080));
	expect(loopback.status).toBe(502);
});
