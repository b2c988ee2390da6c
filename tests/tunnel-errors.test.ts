/** What a person, or a program, is told when something is wrong. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door } from "./support/door.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
let open: Door;
let secured: Door;
let asleep: Door;
/** Started before all others, so that its time of grace is over first. Its server listens on localhost only. */
let silent: Door;

beforeAll(async () => {
	daemon = await Daemon.start({ env: { GANGWAY_TUNNEL_RESPONSE_TIMEOUT: "1" } });
	silent = await Door.of(daemon, {
		tunnel: {},
		launch_parameters: { launch_commands: ["nohup python3 -m http.server 8080 --bind 127.0.0.1 >/dev/null 2>&1 &"] },
	});
	[open, secured, asleep] = await Promise.all([
		Door.of(daemon, withWebServer({ tunnel: {} })),
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } })),
		Door.of(daemon, { tunnel: { auth_mode: "open" } }),
	]);
	await asleep.suspend();
});
afterAll(() => daemon?.remove());

interface Case {
	readonly what: string;
	readonly to: () => string[];
	readonly status: number;
	readonly code: string;
	/** What a person has to read. */
	readonly says: RegExp;
}

const cases: Case[] = [
	{
		what: "an unknown key",
		to: () => [open.url().replace(open.key, "a".repeat(26))],
		status: 404,
		code: "tunnel_not_found",
		says: /no tunnel/i,
	},
	{
		what: "a malformed name",
		to: () => [open.url().replace(`8080-${open.key}`, "nonsense")],
		status: 404,
		code: "tunnel_not_found",
		says: /no tunnel/i,
	},
	{
		what: "a port that is none",
		to: () => [open.url("/", 65_536)],
		status: 404,
		code: "tunnel_not_found",
		says: /no tunnel/i,
	},
	{
		what: "no credential",
		to: () => [secured.url()],
		status: 401,
		code: "unauthorized",
		says: /token/,
	},
	{ what: "port 22", to: () => [open.url("/", 22)], status: 403, code: "port_not_allowed", says: /SSH/ },
	{ what: "a suspended box", to: () => [asleep.url()], status: 503, code: "devbox_suspended", says: /suspended/ },
	{
		what: "an app that does not answer",
		to: () => [open.url("/silent")],
		status: 504,
		code: "response_timeout",
		says: /8080.*too long/,
	},
	{
		what: "an app that answers nonsense",
		to: () => ["-d", "nonsense\r\n\r\n", open.url("/raw")],
		status: 502,
		code: "bad_response",
		says: /8080.*not a valid HTTP response/,
	},
	{
		what: "an app that hangs up",
		to: () => ["-X", "POST", open.url("/raw")],
		status: 502,
		code: "connection_closed",
		says: /8080.*closed/,
	},
];

/** Requests of which nothing can be known, so neither who sends them. */
const unreadable: Case[] = [
	{
		what: "a head that is too large",
		to: () => ["-H", `X-Large: ${"x".repeat(100_000)}`, open.url()],
		status: 431,
		code: "head_too_large",
		says: /too large/,
	},
	{
		what: "a malformed request",
		to: () => ["-H", "Content-Length: 1", "-H", "Transfer-Encoding: chunked", "-d", "x", open.url()],
		status: 400,
		code: "bad_request",
		says: /malformed/,
	},
];

/** Of every answer that is Gangway's own. */
const always = {
	"cache-control": "no-store",
	"referrer-policy": "no-referrer",
	"x-content-type-options": "nosniff",
	"x-runloop-request-id": expect.stringMatching(/^[0-9a-f-]{36}$/),
};

test.each([...cases, ...unreadable])("$what is $status to programs, as JSON", async ({ to, status, code, says }) => {
	const answer = await curl(...to());
	expect(answer.status).toBe(status);
	expect(answer.headers).toMatchObject({ "content-type": expect.stringContaining("application/json"), ...always });
	expect(answer.headers).not.toHaveProperty("retry-after");
	const { error, request_id } = JSON.parse(answer.text);
	expect(error).toEqual({ code, message: expect.stringMatching(says) });
	expect(request_id).toBe(answer.headers["x-runloop-request-id"]);
	await until("the log has it", () => daemon.stderr.includes(request_id));
});

test.each(cases)("$what is $status to browsers, as a page", async ({ to, status, says }) => {
	const answer = await curl("-H", "Accept: text/html,application/xhtml+xml,*/*;q=0.8", ...to());
	expect(answer.status).toBe(status);
	expect(answer.headers).toMatchObject({ "content-type": expect.stringContaining("text/html"), ...always });
	expect(answer.text).toMatch(says);
	expect(answer.text).toContain(answer.headers["x-runloop-request-id"]);
	expect(answer.text).not.toContain('http-equiv="refresh"');
});

test("a port where nothing listens yet is 503, to be tried again", async () => {
	const fresh = await Door.of(daemon, { tunnel: {} });
	const answer = await curl(fresh.url("/", 3000));
	expect(answer).toMatchObject({ status: 503, headers: { ...always, "retry-after": "5" } });
	expect(JSON.parse(answer.text).error).toEqual({ code: "port_starting", message: expect.stringContaining("3000") });
	const page = await curl("-H", "Accept: text/html", fresh.url("/", 3000));
	expect(page).toMatchObject({ status: 503, headers: { ...always, "retry-after": "5" } });
	expect(page.text).toMatch(/<meta http-equiv="refresh"/);
	await fresh.shutdown();
});

test("over HTTP/2 they are the same", async () => {
	for (const { to, status, code } of cases.slice(0, 4)) {
		const answer = await curl("--http2-prior-knowledge", ...to());
		expect([answer.version, answer.status, JSON.parse(answer.text).error.code]).toEqual(["2", status, code]);
	}
});

test("where nothing listens on 0.0.0.0, 502 names the port and the rule", { timeout: 60_000 }, async () => {
	// A box is given 30 s after its start.
	const answer = await until(
		"the time of grace is over",
		async () => {
			const now = await curl(silent.url("/", 8080));
			return now.status !== 503 && now;
		},
		40_000,
	);
	expect(answer.status).toBe(502);
	expect(answer.headers).toMatchObject(always);
	expect(JSON.parse(answer.text).error).toEqual({
		code: "nothing_listening",
		message: expect.stringMatching(/8080.*0\.0\.0\.0/),
	});
	const page = await curl("-H", "Accept: text/html", silent.url("/", 3000));
	expect(page).toMatchObject({ status: 502, headers: always });
	expect(page.text).toMatch(/3000.*0\.0\.0\.0/);
	expect(page.text).not.toContain('http-equiv="refresh"');
});
