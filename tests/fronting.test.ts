/** A branded domain behind real proxies, with the configurations that docs/tunnels.md prints. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { brand, FrontingProxy } from "./support/proxy.js";
import { Conversation } from "./support/ssh.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let door: Door;

beforeAll(async () => {
	daemon = await Daemon.start({ env: { GANGWAY_TRUSTED_PROXIES: "127.0.0.1" } });
	door = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } }));
});
afterAll(() => daemon?.remove());

describe.each([
	["nginx", FrontingProxy.nginx],
	["Caddy", FrontingProxy.caddy],
])("behind %s", (_, start) => {
	let proxy: FrontingProxy;
	beforeAll(async () => {
		proxy = await start({ httpPort: daemon.endpoints.http_port, tunnelHost: door.host(), token: door.token });
	});
	afterAll(() => proxy?.remove());

	/** Its certificate is its own. */
	const flags = () => ["-k", "--resolve", `${brand}:${proxy.port}:127.0.0.1`];

	async function headersOf(...more: string[]): Promise<Record<string, string>> {
		const answer = await curl(...flags(), ...more, proxy.url("/echo"));
		expect(answer.status, answer.text).toBe(200);
		return JSON.parse(answer.text).headers;
	}

	test.each(["--http1.1", "--http2"])(
		"the app sees the branded name and the real client, and no trace of the tunnel (%s)",
		async (version) => {
			const headers = await headersOf(version);
			expect(headers).toMatchObject({
				host: `${brand}:${proxy.port}`,
				"x-real-ip": "127.0.0.1",
				"x-forwarded-proto": "https",
			});
			expect(headers["x-forwarded-for"]).toBe("127.0.0.1, 127.0.0.1");
			expect(JSON.stringify(headers)).not.toContain(door.key);
			expect(JSON.stringify(headers)).not.toContain(door.token);
		},
	);

	test("a client cannot choose another tunnel, and keeps the app's own Authorization", async () => {
		const elsewhere = ["-H", `X-Runloop-Host: 1-${"a".repeat(26)}.tunnel.${daemon.endpoints.domain}`];
		const headers = await headersOf(
			...elsewhere,
			"-H",
			"Authorization: Basic eDp5",
			"-H",
			"X-Runloop-Tunnel-Authorization: x",
		);
		expect(headers.authorization).toBe("Basic eDp5");
	});

	test("a WebSocket with its subprotocol and its close code", async () => {
		const options = { lookup, rejectUnauthorized: false } as ClientOptions;
		const socket = new WebSocket(proxy.url("/headers").replace("https", "wss"), ["chat.v2"], options);
		const [seen] = await once(socket, "message");
		expect(JSON.parse(String(seen)).host).toBe(`${brand}:${proxy.port}`);
		expect(socket.protocol).toBe("chat.v2");
		const closed = once(socket, "close");
		socket.send("close 4001 enough");
		expect((await closed)[0]).toBe(4001);
	});

	test("an event is there before the next one is written", async () => {
		const stream = new Conversation(spawn("curl", ["-sSN", ...flags(), proxy.url("/events?count=3")]));
		for (const number of [1, 2]) {
			await stream.sees(new RegExp(`data: ${number}\n\n$`));
			await curl(...flags(), proxy.url("/next"));
		}
		expect(await stream.ended).toBe(0);
	});

	test("an upload of 20 MB", async () => {
		const content = randomBytes(20_000_000);
		const file = join(daemon.dataDir, "upload");
		await writeFile(file, content);
		const answer = await curl(...flags(), "-T", file, proxy.url("/sink"));
		expect(JSON.parse(answer.text)).toEqual({
			bytes: content.length,
			sha256: createHash("sha256").update(content).digest("hex"),
		});
	});
});

test("X-Runloop-Host is ignored for an open tunnel", async () => {
	const open = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open" } }));
	const proxy = await FrontingProxy.nginx({
		httpPort: daemon.endpoints.http_port,
		tunnelHost: open.host(),
		token: "any",
	});
	try {
		const answer = await curl("-k", "--resolve", `${brand}:${proxy.port}:127.0.0.1`, proxy.url("/echo"));
		expect(answer.status).toBe(404);
	} finally {
		await proxy.remove();
	}
});
