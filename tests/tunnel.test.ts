/** The HTTP door of a devbox: what comes through, when it sleeps, how long it lasts. */
import { once } from "node:events";
import type { RunloopSDK } from "@runloop/api-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import type { CreateParams } from "./support/box.js";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let devboxes: RunloopSDK["api"]["devboxes"];
/** Shared by tests that leave it as it is. */
let open: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	devboxes = daemon.sdk().api.devboxes;
	open = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open" } }));
});
afterAll(() => daemon?.remove());

describe("a request reaches the box", () => {
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

describe("a suspended box", () => {
	test("without a wake trigger: 503 that says so, and it sleeps on", async () => {
		const door = await Door.of(daemon, withWebServer({ tunnel: { wake_on_http: false } }));
		await door.suspend();
		const answer = await curl(door.url());
		expect(answer.status).toBe(503);
		expect(answer.headers).not.toHaveProperty("retry-after");
		expect(JSON.parse(answer.text).error.code).toBe("devbox_suspended");
		expect(await door.status()).toBe("suspended");
		await door.shutdown();
	});

	test.each<[string, CreateParams]>([
		["wake_on_http", { tunnel: { wake_on_http: true } }],
		["resume_triggers.http", { tunnel: {}, launch_parameters: { lifecycle: { resume_triggers: { http: true } } } }],
	])("with %s: 503 and Retry-After, then the app", async (_, params) => {
		const door = await Door.of(daemon, withWebServer(params));
		await door.suspend();
		const first = await curl(door.url());
		expect(first).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		// As a webhook's sender does, only sooner.
		await until("the app answers", async () => (await curl(door.url())).status === 200);
		expect(await door.status()).toBe("running");
		await door.shutdown();
	});

	test("a browser gets a page that reloads itself", async () => {
		const door = await Door.of(daemon, withWebServer({ tunnel: { wake_on_http: true } }));
		await door.suspend();
		const answer = await curl("-H", "Accept: text/html", door.url());
		expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		expect(answer.text).toMatch(/<meta http-equiv="refresh"/);
		await door.shutdown();
	});

	test("is not woken by a request without the token", async () => {
		const door = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated", wake_on_http: true } }));
		await door.suspend();
		expect((await curl(door.url())).status).toBe(401);
		expect((await curl("-H", "Authorization: Bearer wrong", door.url())).status).toBe(401);
		expect(await door.status()).toBe("suspended");
		const token = door.credential;
		expect((await curl(...token, door.url())).status).toBe(503);
		await until("the app answers", async () => (await curl(...token, door.url())).status === 200);
		await door.shutdown();
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
		const [awake, sleepy] = await Promise.all([Door.of(daemon, params(true)), Door.of(daemon, params(false))]);
		const [ofAwake, ofSleepy] = await Promise.all([traffic(awake.url()), traffic(sleepy.url())]);
		expect([...ofAwake]).toEqual([200]);
		expect([...ofSleepy]).toEqual(expect.arrayContaining([200, 503]));
		await devboxes.awaitSuspended(sleepy.id);
		await devboxes.awaitSuspended(awake.id);
		await Promise.all([awake, sleepy].map((door) => door.shutdown()));
	});

	test("an active WebSocket holds it off, a silent one does not", async () => {
		const params = withWebServer({ tunnel: {}, launch_parameters: { ...afterIdle } });
		const [active, silent] = await Promise.all([Door.of(daemon, params), Door.of(daemon, params)]);
		const [talk, silence] = await Promise.all(
			[active, silent].map(async (door) => {
				const socket = new WebSocket(door.url("/").replace("http", "ws"), { lookup } as ClientOptions);
				await once(socket, "open");
				return socket;
			}),
		);
		const silenced = once(silence!, "close");
		talk!.on("message", (data) => talk!.send(data));
		talk!.send("and again");
		await silenced;
		await devboxes.awaitSuspended(silent.id);
		expect([talk!.readyState, await active.status()]).toEqual([WebSocket.OPEN, "running"]);
		talk!.terminate();
		await Promise.all([active, silent].map((door) => door.shutdown()));
	});
});

describe("a tunnel's life", () => {
	test("it survives suspend and resume and a crash of the daemon, and ends with the box", async () => {
		const door = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } }));
		const ask = () => curl(...door.credential, door.url());
		expect((await ask()).status).toBe(200);
		await door.suspend();
		await door.resume();
		expect((await ask()).status).toBe(200);
		await daemon.kill();
		await daemon.start();
		expect((await ask()).status).toBe(200);
		await door.shutdown();
		expect((await ask()).status).toBe(404);
	});
});
