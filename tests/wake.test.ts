/** A sleeping box that requests wake: told to come again, or held until it answers. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { SshClient } from "./support/ssh.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
/** Boxes that tests share, and leave running or suspended: each test suspends its own first. */
let retrying: Door;
let holding: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	[retrying, holding] = await Promise.all([
		Door.of(daemon, withWebServer(wakes("retry"))),
		Door.of(daemon, withWebServer(wakes("hold"))),
	]);
});
afterAll(() => daemon?.remove());

// The official client's types do not know the parameter.
const wakes = (wake_mode: string, more = {}) => ({ tunnel: { wake_on_http: true, wake_mode, ...more } as object });

async function resumes(door: Door): Promise<number> {
	const { state_transitions } = await daemon.sdk().api.devboxes.retrieve(door.id);
	return state_transitions.filter(({ status }) => status === "resuming").length;
}

describe("hold", () => {
	test("a request is answered by the app, its body whole", async () => {
		await holding.suspend();
		const file = join(daemon.dataDir, "5MB");
		const content = randomBytes(5_000_000);
		await writeFile(file, content);
		const answer = await curl("--data-binary", `@${file}`, holding.url("/sink"));
		expect(answer.status).toBe(200);
		const sha256 = createHash("sha256").update(content).digest("hex");
		expect(JSON.parse(answer.text)).toEqual({ bytes: content.length, sha256 });
	});

	test("500 requests at once start one resume and are all answered", async () => {
		await holding.suspend();
		const before = await resumes(holding);
		const url = holding.url("/echo?n=[1-500]");
		const answers = await curl(
			"--parallel",
			"--parallel-immediate",
			"--parallel-max",
			"300",
			"-w",
			"\\n%{http_code}\\n",
			url,
		);
		expect(answers.text.match(/^200$/gm)).toHaveLength(500);
		expect(await resumes(holding)).toBe(before + 1);
	});

	test("a box that is about to sleep is woken when it does", async () => {
		await daemon.sdk().api.devboxes.suspend(holding.id);
		expect((await curl(holding.url())).status).toBe(200);
	});

	test("over HTTP/2 too", async () => {
		await holding.suspend();
		const answer = await curl("--http2-prior-knowledge", "-d", "some body", holding.url());
		expect(JSON.parse(answer.text)).toMatchObject({ method: "POST", body: "some body" });
	});

	test("a server that takes longer than its box to start is waited for", async () => {
		const slow = "nohup sh -c 'sleep 2; exec python3 -m http.server 9000' >log 2>&1 &";
		const door = await Door.of(daemon, { ...wakes("hold"), launch_parameters: { launch_commands: [slow] } });
		expect((await curl(door.url("/", 9000))).status).toBe(200);
		await door.shutdown();
	});

	test("a start that fails ends the wait", async () => {
		const onlyOnce = ["[ ! -e started ] && touch started"];
		const door = await Door.of(daemon, { ...wakes("hold"), launch_parameters: { launch_commands: onlyOnce } });
		await door.suspend();
		expect(await curl(door.url())).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		expect(await door.status()).toBe("suspended");
		await door.shutdown();
	});

	test("a stranger to a private tunnel is neither held nor wakes the box", async () => {
		const door = await Door.of(daemon, withWebServer(wakes("hold", { auth_mode: "authenticated" })));
		await door.suspend();
		expect((await curl(door.url())).status).toBe(401);
		expect(await door.status()).toBe("suspended");
		expect(await resumes(door)).toBe(0);
		expect((await curl(...door.credential, door.url())).status).toBe(200);
		await door.shutdown();
	});
});

describe("retry", () => {
	test("500 requests at once start one resume", async () => {
		await retrying.suspend();
		const before = await resumes(retrying);
		const url = retrying.url("/echo?n=[1-500]");
		await curl("--parallel", "--parallel-immediate", "--parallel-max", "300", url);
		await until("the app answers", async () => (await curl(retrying.url())).status === 200);
		expect(await resumes(retrying)).toBe(before + 1);
	});

	test("a port where nothing listens yet: 503 and Retry-After, then its server", async () => {
		const url = retrying.url("/", 9000);
		const ssh = await SshClient.for(daemon, retrying.id);
		expect(await curl(url)).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
		await ssh.out("nohup python3 -m http.server 9000 >9000.log 2>&1 </dev/null & disown");
		await until("it answers", async () => (await curl(url)).status === 200);
	});

	test("a WebSocket is held until the app takes it", async () => {
		await retrying.suspend();
		const socket = new WebSocket(retrying.url("/").replace("http", "ws"), { lookup } as ClientOptions);
		await once(socket, "open");
		socket.send("hello");
		expect(String((await once(socket, "message"))[0])).toBe("hello");
		socket.terminate();
	});

	test("an event stream is held until the app serves it", async () => {
		await retrying.suspend();
		const answer = await curl("-N", "-H", "Accept: text/event-stream", retrying.url("/events?count=1"));
		expect(answer).toMatchObject({ status: 200, text: "data: 1\n\n" });
	});
});
