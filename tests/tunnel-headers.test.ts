/** Which headers reach the app and which the client, seen by an echo server in a box. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door } from "./support/door.js";
import { sendRaw } from "./support/raw.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
/** Believes X-Forwarded-For of its peers: everything here comes from loopback. */
let trusting: Daemon;
let open: Door;
let behindProxy: Door;
let host: string;

beforeAll(async () => {
	[daemon, trusting] = await Promise.all([
		Daemon.start(),
		Daemon.start({ env: { GANGWAY_TRUSTED_PROXIES: "127.0.0.0/8" } }),
	]);
	[open, behindProxy] = await Promise.all([
		Door.of(daemon, withWebServer({ tunnel: {} })),
		Door.of(trusting, withWebServer({ tunnel: {} })),
	]);
	host = `${open.host()}:${daemon.endpoints.http_port}`;
});
afterAll(() => Promise.all([daemon?.remove(), trusting?.remove()]));

type Field = readonly [name: string, value: string];

interface Echo {
	readonly headers: Readonly<Record<string, string>>;
	readonly fields: readonly Field[];
}

/** What of these header lines the app sees, in the order and the letters in which they arrive. */
async function seenByApp(lines: readonly string[], to = open): Promise<Echo> {
	const request = [`GET /echo HTTP/1.1`, `Host: ${to.host()}:${to.daemon.endpoints.http_port}`, ...lines];
	const closes = lines.some((line) => /^connection:/i.test(line)) ? [] : ["Connection: close"];
	const answer = await sendRaw(to.daemon.endpoints.http_port, [...request, ...closes]);
	expect(answer.head[0], answer.body).toBe("HTTP/1.1 200 OK");
	return read(answer.body.slice(answer.body.indexOf("{"), answer.body.lastIndexOf("}") + 1));
}

function read(echo: string): Echo {
	const { headers, rawHeaders } = JSON.parse(echo);
	const fields = rawHeaders.flatMap((name: string, at: number) => (at % 2 === 0 ? [[name, rawHeaders[at + 1]]] : []));
	return { headers, fields };
}

/** Fields that the tunnel or its connection to the app adds. */
const added = ["x-runloop-request-id", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "connection"];
const sent = ({ fields }: Echo) => fields.filter(([name]) => !added.includes(name.toLowerCase()));

describe("to the app", () => {
	test("order, letters and repetitions stay, Host included", async () => {
		const lines = ["X-b: 1", "x-A: two", "X-B: 3", "Cookie: a=1", "ACCEPT: */*", "Cookie: b=2", "X-Empty:", "X-b: 4"];
		expect(sent(await seenByApp(lines))).toEqual([
			["Host", host],
			["X-b", "1"],
			["x-A", "two"],
			["X-B", "3"],
			["Cookie", "a=1"],
			["ACCEPT", "*/*"],
			["Cookie", "b=2"],
			["X-Empty", ""],
			["X-b", "4"],
		]);
	});

	test.each([
		"Keep-Alive: timeout=5",
		"TE: trailers",
		"Trailer: X-Sum",
		"Proxy-Authorization: Basic eA==",
		"Proxy-Authenticate: Basic",
		"Proxy-Connection: keep-alive",
		"Upgrade: h2c",
	])("hop by hop: %s", async (line) => {
		expect(sent(await seenByApp([line, "X-Stays: 1"]))).toEqual([
			["Host", host],
			["X-Stays", "1"],
		]);
	});

	test("what Connection names goes, in any letters and over several fields", async () => {
		const lines = [
			"Connection: close, X-One , x-tWo",
			"connection: X-Three",
			"X-one: 1",
			"X-Two: 2",
			"X-THREE: 3",
			"X-Four: 4",
		];
		expect(sent(await seenByApp(lines))).toEqual([
			["Host", host],
			["X-Four", "4"],
		]);
	});

	test("what Connection names cannot be what the tunnel sets", async () => {
		const names = ["x-forwarded-for", "x-real-ip", "x-runloop-request-id", "x-forwarded-proto"];
		const { headers } = await seenByApp([`Connection: close, ${names.join(", ")}`]);
		expect(Object.keys(headers)).toEqual(expect.arrayContaining(names));
	});

	test("Forwarded, X-Forwarded-Host and the app's own Authorization pass as they are", async () => {
		const fields: Field[] = [
			["Forwarded", "for=1.2.3.4;host=elsewhere.example"],
			["X-Forwarded-Host", "elsewhere.example"],
			["X-Forwarded-Port", "1"],
			["Authorization", "Basic eDp5"],
			["X-Runloop-Host", "of-an-open-tunnel.example"],
		];
		expect(sent(await seenByApp(fields.map((field) => field.join(": "))))).toEqual([["Host", host], ...fields]);
	});

	test.each(["HTTP/1.1", "HTTP/2"])(
		"HTTP/2 fields come in lower case, pseudo-header fields do not (%s)",
		async (version) => {
			const flag = version === "HTTP/2" ? "--http2-prior-knowledge" : "--http1.1";
			const answer = await curl(flag, "-H", "X-Case: 1", "-H", "x-case: 2", "-H", "TE: trailers", open.url());
			const names = sent(read(answer.text)).map(([name]) => name);
			const own = version === "HTTP/2" ? ["x-case", "x-case"] : ["X-Case", "x-case"];
			expect(names.filter((name) => name.toLowerCase() === "x-case")).toEqual(own);
			expect(names.filter((name) => name.startsWith(":") || name.toLowerCase() === "te")).toEqual([]);
			expect(names.filter((name) => name.toLowerCase() === "host")).toHaveLength(1);
		},
	);
});

describe("who the client is", () => {
	const lies = [
		"X-Forwarded-For: 6.6.6.6",
		"X-Real-IP: 6.6.6.6",
		"X-Forwarded-Proto: gopher",
		"x-forwarded-for: 7.7.7.7",
	];

	test("says Gangway, not the client", async () => {
		const { headers, fields } = await seenByApp(lies);
		expect(headers).toMatchObject({
			"x-forwarded-for": "127.0.0.1",
			"x-real-ip": "127.0.0.1",
			"x-forwarded-proto": "http",
		});
		expect(fields.filter(([name]) => name.toLowerCase() === "x-forwarded-for")).toHaveLength(1);
	});

	test("says a trusted proxy, whose word is continued", async () => {
		const { headers } = await seenByApp(
			["X-Forwarded-For: 6.6.6.6, 203.0.113.7", "X-Forwarded-Proto: https"],
			behindProxy,
		);
		expect(headers).toMatchObject({
			"x-forwarded-for": "6.6.6.6, 203.0.113.7, 127.0.0.1",
			"x-real-ip": "203.0.113.7",
			"x-forwarded-proto": "https",
		});
	});

	test("over TLS the scheme is https", async () => {
		const lie = ["-H", "X-Forwarded-Proto: http"];
		const answer = await curl(...lie, ...daemon.trust, open.secureUrl());
		expect(read(answer.text).headers["x-forwarded-proto"]).toBe("https");
	});
});

describe("the request's id", () => {
	test("is the same for the app, the client and the log, and never the client's own", async () => {
		const answer = await curl("-H", "X-Runloop-Request-Id: mine", "-H", "x-runloop-request-id: mine too", open.url());
		const { headers, fields } = read(answer.text);
		const id = headers["x-runloop-request-id"]!;
		expect(fields.filter(([name]) => name.toLowerCase() === "x-runloop-request-id")).toHaveLength(1);
		expect(id).not.toContain("mine");
		expect(answer.headers["x-runloop-request-id"]).toBe(id);
		await until("the log has it", () => daemon.stderr.includes(id));
	});

	test("is another one for each request", async () => {
		const ids = await Promise.all([1, 2, 3].map(async () => (await curl(open.url())).headers["x-runloop-request-id"]));
		expect(new Set(ids).size).toBe(3);
	});
});

describe("to the client", () => {
	/** The head that the client sees when the app answers with these lines. */
	async function seenByClient(lines: readonly string[]): Promise<readonly string[]> {
		const raw = `${lines.join("\r\n")}\r\n\r\n`;
		const request = ["POST /raw HTTP/1.1", `Host: ${host}`, `Content-Length: ${raw.length}`, "Connection: close"];
		const { head } = await sendRaw(daemon.endpoints.http_port, request, raw);
		return head.filter((line) => !/^(x-runloop-request-id|connection):/i.test(line));
	}

	test("order, letters and repetitions stay, and so does the reason phrase", async () => {
		const lines = [
			"HTTP/1.1 203 Made Up",
			"X-b: 1",
			"Set-Cookie: a=1",
			"x-A: 2",
			"SET-cookie: b=2",
			"X-B: 3",
			"Content-Length: 0",
		];
		expect(await seenByClient(lines)).toEqual(lines);
	});

	test("hop-by-hop fields and what Connection names go", async () => {
		const [status, length] = ["HTTP/1.1 200 OK", "Content-Length: 0"];
		const gone = [
			"Keep-Alive: timeout=5",
			"Proxy-Authenticate: Basic",
			"Connection: x-named",
			"X-Named: 1",
			"Upgrade: h2c",
		];
		expect(await seenByClient([status, ...gone, length])).toEqual([status, length]);
	});

	test("the app's word about the request's id is replaced", async () => {
		const raw = "HTTP/1.1 200 OK\r\nX-Runloop-Request-Id: of the app\r\nContent-Length: 0\r\n\r\n";
		const answer = await curl("--data-binary", raw, open.url("/raw"));
		expect(answer.headers["x-runloop-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
	});
});
