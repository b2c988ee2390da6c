/** What goes through a tunnel: bodies of any size, parts of files, event streams, any port. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, EventSource } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shell } from "./support/cli.js";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { memoryGrowth } from "./support/host.js";
import { Conversation } from "./support/ssh.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let door: Door;
/** Flags of curl and the URL, for each way to speak with the front. */
const fronts: [name: string, version: string, to: (path: string) => string[]][] = [
	["HTTP/1.1", "1.1", (path) => [door.url(path)]],
	["HTTP/1.1 over TLS", "1.1", (path) => ["--http1.1", ...daemon.trust, door.secureUrl(path)]],
	["HTTP/2 over TLS", "2", (path) => ["--http2", ...daemon.trust, door.secureUrl(path)]],
	["HTTP/2 with prior knowledge", "2", (path) => ["--http2-prior-knowledge", door.url(path)]],
];

beforeAll(async () => {
	daemon = await Daemon.start();
	const params = withWebServer({ tunnel: { auth_mode: "open" } }, [8080, 3000, 65_535]);
	params.file_mounts!["/srv/digits"] = "0123456789";
	params.launch_parameters!.launch_commands!.push(
		"nohup caddy file-server --listen :8000 --root /srv >/dev/null 2>&1 &",
		"until (: </dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.02; done",
	);
	door = await Door.of(daemon, params);
});
afterAll(() => daemon?.remove());

describe("one gigabyte", () => {
	const gigabyte = 2 ** 30;
	/** Never twice the same, so that a lost, doubled or swapped piece shows. */
	const keystream = `openssl enc -aes-128-ctr -K 0 -iv 0 -in /dev/zero 2>/dev/null | head -c ${gigabyte}`;
	const boundedBy = 64 * 2 ** 20;
	let digest: string;

	beforeAll(async () => {
		digest = (await shell(`${keystream} | sha256sum`)).stdout.toString().slice(0, 64);
	});

	const [plain, , http2] = fronts;
	test.each([plain!, http2!])(
		"comes down over %s unchanged, in bounded memory",
		{ timeout: 120_000 },
		async (_, _version, to) => {
			const grown = await memoryGrowth(daemon.pid, async () => {
				const command = `curl -sS ${to(`/keystream?bytes=${gigabyte}`).join(" ")} | sha256sum`;
				expect((await shell(command)).stdout.toString().slice(0, 64)).toBe(digest);
			});
			expect(grown).toBeLessThan(boundedBy);
		},
	);

	test.each([plain!, http2!])(
		"goes up over %s unchanged, in bounded memory",
		{ timeout: 120_000 },
		async (_, _version, to) => {
			const grown = await memoryGrowth(daemon.pid, async () => {
				const { stdout } = await shell(`${keystream} | curl -sS -T - ${to("/sink").join(" ")}`);
				expect(JSON.parse(stdout.toString())).toEqual({ bytes: gigabyte, sha256: digest });
			});
			expect(grown).toBeLessThan(boundedBy);
		},
	);
});

describe("parts of a file", () => {
	const url = () => door.url("/digits", 8000);

	test.each<[string, string, string]>([
		["0-3", "0123", "bytes 0-3/10"],
		["4-", "456789", "bytes 4-9/10"],
		["-2", "89", "bytes 8-9/10"],
	])("bytes=%s", async (range, text, contentRange) => {
		const answer = await curl("-r", range, url());
		expect(answer).toMatchObject({ status: 206, text, headers: { "content-range": contentRange } });
	});

	test("several parts, a part out of reach, and what is unchanged", async () => {
		const several = await curl("-r", "0-1,8-9", url());
		expect(several.status).toBe(206);
		expect(several.headers["content-type"]).toMatch(/^multipart\/byteranges; boundary=/);
		expect(await curl("-r", "10-", url())).toMatchObject({ status: 416, headers: { "content-range": "bytes */10" } });
		const { etag } = (await curl("-I", url())).headers;
		expect(await curl("-H", `If-None-Match: ${etag}`, url())).toMatchObject({ status: 304, text: "" });
		expect((await curl("-r", "0-3", "-H", 'If-Range: "another"', url())).text).toBe("0123456789");
	});
});

describe("an event stream", () => {
	test.each(fronts)("over %s: each event is there before the next one is written", async (_, _version, to) => {
		const stream = new Conversation(spawn("curl", ["-sSN", ...to("/events?count=5")]));
		for (let number = 1; number <= 4; number++) {
			await stream.sees(new RegExp(`data: ${number}\n\n$`));
			await curl(door.url("/next"));
		}
		expect(await stream.ended).toBe(0);
		expect(stream.output).toMatch(/data: 5\n\n$/);
	});

	test("with an EventSource", async () => {
		const agent = new Agent({ connect: { lookup } });
		const source = new EventSource(door.url("/events?count=3"), { node: { dispatcher: agent } });
		const [first] = await once(source, "message");
		expect(first.data).toBe("1");
		const following = once(source, "message");
		await curl(door.url("/next"));
		const [second] = await following;
		expect(second.data).toBe("2");
		source.close();
		await agent.destroy();
	});

	test("ends in the box when the client leaves", async () => {
		const stream = new Conversation(spawn("curl", ["-sSN", door.url("/events?count=2")]));
		await stream.sees(/data: 1/);
		await stream.kill();
		await until("the box has noticed", async () =>
			JSON.parse((await curl(door.url("/closes"))).text).includes("event stream"),
		);
	});
});

test.each(fronts)("%s on the front", async (_, version, to) => {
	const answer = await curl("-d", "some body", ...to("/echo"));
	expect(answer).toMatchObject({ status: 200, version, headers: { "x-from-the-box": "yes" } });
	expect(JSON.parse(answer.text)).toMatchObject({
		method: "POST",
		url: "/echo",
		httpVersion: "1.1",
		body: "some body",
	});
});

test("a tunnel leads to every port, to several at once", async () => {
	const ports = [8080, 3000, 65_535];
	const seen = await Promise.all(
		[...ports, ...ports].map(async (port) => JSON.parse((await curl(door.url("/echo", port))).text).port),
	);
	expect(seen).toEqual([...ports, ...ports]);
});
