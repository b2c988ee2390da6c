/** What operators see: endpoints, logs, signals, settings, and the first start of a newcomer. */
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import Runloop from "@runloop/api-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gangway, shell } from "./support/cli.js";
import { curl } from "./support/curl.js";
import { adminApiKey, Daemon } from "./support/daemon.js";
import { footprint } from "./support/host.js";
import { SshClient } from "./support/ssh.js";
import { until } from "./support/until.js";
import { withWebServer } from "./support/web-server.js";

let daemon: Daemon;
beforeAll(async () => {
	daemon = await Daemon.start({ env: { GANGWAY_DRAIN_TIMEOUT: "20" } });
});
afterAll(() => daemon?.remove());

const url = (path: string) => `http://127.0.0.1:${daemon.endpoints.http_port}${path}`;
const withKey = ["-H", `Authorization: Bearer ${adminApiKey}`];

describe("operations", () => {
	test("/healthz and /readyz need no key", async () => {
		expect(await curl(url("/healthz"))).toMatchObject({ status: 200, text: '{"status":"ok"}' });
		expect(await curl(url("/readyz"))).toMatchObject({ status: 200, text: '{"status":"ready"}' });
	});

	test("/metrics is for loopback and for keys, not for who comes through a proxy", async () => {
		const local = await curl(url("/metrics"));
		expect(local.status).toBe(200);
		expect(local.headers["content-type"]).toMatch(/^text\/plain/);
		for (const name of [
			"gangway_devboxes",
			"gangway_tunnel_requests_total",
			"gangway_edge_connections",
			"process_cpu_seconds_total",
		])
			expect(local.text).toContain(`# TYPE ${name} `);
		for (const field of ["X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9"]) {
			expect((await curl("-H", field, url("/metrics"))).status).toBe(401);
			expect((await curl("-H", field, ...withKey, url("/metrics"))).status).toBe(200);
		}
	});

	test("/openapi.json describes every call of the client's life cycle, and each reference leads somewhere", async () => {
		const { text: json } = await curl(url("/openapi.json"));
		const document = JSON.parse(json);
		expect(document.openapi).toMatch(/^3\./);
		const operations = Object.entries<object>(document.paths).flatMap(([path, methods]) =>
			Object.keys(methods).map((method) => `${method} ${path}`),
		);
		expect(operations).toEqual(
			expect.arrayContaining([
				"post /v1/devboxes",
				"get /v1/devboxes",
				"post /v1/devboxes/create_and_await_running",
				"get /v1/devboxes/{id}",
				"post /v1/devboxes/{id}",
				...[
					"suspend",
					"resume",
					"shutdown",
					"keep_alive",
					"wait_for_status",
					"create_ssh_key",
					"enable_tunnel",
					"remove_tunnel",
				].map((verb) => `post /v1/devboxes/{id}/${verb}`),
				"get /v1/devboxes/{id}/logs",
			]),
		);
		const ids = Object.values<Record<string, { operationId?: string }>>(document.paths)
			.flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId))
			.filter(Boolean);
		expect(new Set(ids).size).toBe(ids.length);
		for (const [, reference] of json.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
			const found = reference!.split("/").reduce((node, key) => node?.[key], document);
			expect(found, reference).toBeDefined();
		}
	});

	test("/docs is served, and the front page leads there", async () => {
		const page = await curl("-L", url("/docs"));
		expect(page).toMatchObject({ status: 200, headers: { "content-type": expect.stringContaining("text/html") } });
		const front = await curl("-H", "Accept: text/html", url("/"));
		expect(front).toMatchObject({ status: 302, headers: { location: "/docs" } });
		for (const [, asset] of page.text.matchAll(/(?:src|href)="(\.?\/[^"]+)"/g)) {
			const target = new URL(asset!, url("/docs/")).href;
			expect((await curl(target)).status, target).toBe(200);
		}
		expect(page.text).not.toMatch(/(?:src|href)="https?:/);
	});
});

describe("the log", () => {
	test("is JSON lines with request and devbox ids, and holds no secret", async () => {
		const sdk = daemon.sdk();
		const { id, tunnel } = await sdk.api.devboxes.createAndAwaitRunning(
			withWebServer({
				tunnel: { auth_mode: "authenticated" },
				environment_variables: { PASSWORD: "secret-of-the-environment" },
				file_mounts: { "key.txt": "secret-of-a-file" },
			}),
		);
		const key = await sdk.api.devboxes.createSSHKey(id);
		const token = tunnel!.auth_token!;
		const bearer = ["-H", `Authorization: Bearer ${token}`];
		const door = daemon.tunnelUrl(tunnel!.tunnel_key, 8080, "/echo?code=secret-of-a-query");
		expect((await curl(...bearer, "-H", "Cookie: session=secret-of-a-cookie", door)).status).toBe(200);
		expect((await curl("-H", "Authorization: Bearer wrong-tunnel-token", door)).status).toBe(401);
		expect(
			(await curl("-H", "Authorization: Bearer gw_wrong_api_key", url("/v1/devboxes?limit=1&x=secret-of-a-query")))
				.status,
		).toBe(401);
		await curl(...bearer, daemon.tunnelUrl(tunnel!.tunnel_key, 4000, "/?code=secret-of-a-query"));
		await sdk.api.devboxes.suspend(id);
		await sdk.api.devboxes.awaitSuspended(id);
		const answer = await curl(...withKey, "--http2-prior-knowledge", url(`/v1/devboxes/${id}`));
		const requestId = answer.headers["x-gangway-request-id"]!;
		await sdk.api.devboxes.shutdown(id);

		const entry = await until("the request is in the log", () => lines().find((line) => line.requestId === requestId));
		expect(entry).toMatchObject({
			method: "GET",
			path: `/v1/devboxes/${id}`,
			status: 200,
			devboxId: id,
			peer: "127.0.0.1",
		});
		const secrets = [
			...[adminApiKey, token, "wrong-tunnel-token", "gw_wrong_api_key"],
			...["secret-of-a-query", "secret-of-a-cookie", "secret-of-the-environment", "secret-of-a-file"],
			...["PRIVATE KEY", key.ssh_private_key.split("\n")[1]!],
		];
		for (const secret of secrets) expect(daemon.output).not.toContain(secret);
	});

	const lines = (): Record<string, unknown>[] =>
		daemon.stderr
			.split("\n")
			.slice(0, -1)
			.map((line) => JSON.parse(line));
});

describe("SIGTERM", () => {
	test("lets an open request finish, leaves boxes running, and the next start finds them", {
		timeout: 60_000,
	}, async () => {
		const { id, tunnel } = await daemon.sdk().api.devboxes.createAndAwaitRunning(withWebServer({ tunnel: {} }));
		const ssh = await SshClient.for(daemon, id);
		const pids = async () =>
			(await ssh.run("ps -eo pid,lstart,args | grep -v 'ps -eo\\|grep\\|sshd'")).stdout.toString();
		const before = await pids();
		const host = `8080-${tunnel!.tunnel_key}.tunnel.${daemon.endpoints.domain}`;
		const post = httpRequest({
			host: "127.0.0.1",
			port: daemon.endpoints.http_port,
			method: "POST",
			path: "/echo",
			headers: { host },
		});
		post.write("begun before, ");
		await until("the request is under way", async () =>
			/gangway_tunnel_live\{kind="request"\} 1/.test((await curl(url("/metrics"))).text),
		);

		const stopped = daemon.stop();
		await until("it accepts nothing more", () => refused(daemon.endpoints.http_port));
		post.end("ended after");
		const [response] = (await once(post, "response")) as [IncomingMessage];
		expect(JSON.parse(await text(response)).body).toBe("begun before, ended after");
		expect(await stopped).toBe(0);
		expect(footprint(daemon.dataDir)).toMatchObject({ groups: [id], links: [expect.any(String)] });

		await daemon.start();
		expect(await pids()).toBe(before);
		expect((await curl(daemon.tunnelUrl(tunnel!.tunnel_key, 8080, "/echo"))).status).toBe(200);
		await ssh.remove();
		await daemon.sdk().api.devboxes.shutdown(id);
	});

	test("answers a call that is held, so that its client asks again", async () => {
		const api = daemon.sdk().api;
		const { id } = await api.devboxes.createAndAwaitRunning({});
		const held = api.post(`/v1/devboxes/${id}/wait_for_status`, { body: { statuses: ["suspended"] }, maxRetries: 0 });
		const outcome = held.then(
			() => undefined,
			(error: unknown) => error,
		);
		await until("the call is held", async () => /kind="http2"\} [1-9]/.test((await curl(url("/metrics"))).text));
		expect(await daemon.stop()).toBe(0);
		expect(await outcome).toBeInstanceOf(Runloop.APIError);
		await daemon.start();
		expect(await api.devboxes.retrieve(id)).toMatchObject({ status: "running" });
		await api.devboxes.shutdown(id);
	});
});

function refused(port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connect(port, "127.0.0.1");
		socket.once("connect", () => resolve(socket.destroy() && false));
		socket.once("error", () => resolve(true));
	});
}

describe("a start that cannot be", () => {
	let directory: string;
	beforeAll(async () => {
		directory = await mkdtemp(join(tmpdir(), "gangway-settings-"));
	});
	afterAll(() => rm(directory, { recursive: true, force: true }));

	/** What a start that fails says. Bad settings are exit code 2, all else is 1. */
	async function refusal(args: string[], env: Record<string, string> = {}, exitCode = 2): Promise<string> {
		const { code, stdout, stderr } = await gangway(["serve", ...args], {
			cwd: directory,
			env: { GANGWAY_DATA_DIR: directory, ...env },
		});
		expect(code).toBe(exitCode);
		expect(stdout.toString()).toBe("");
		return stderr;
	}

	test("a second daemon on the same data", async () => {
		const stderr = await refusal(
			[],
			{
				GANGWAY_DATA_DIR: daemon.dataDir,
				GANGWAY_TLS_PORT: "0",
				GANGWAY_HTTP_PORT: "0",
				GANGWAY_SSH_PORT: "0",
			},
			1,
		);
		expect(stderr.split("\n")[0]).toMatch(/^gangway: .*in use by another gangway daemon/);
		expect((await curl(url("/readyz"))).status).toBe(200);
	});

	test("a port that is taken", async () => {
		const taken = String(daemon.endpoints.http_port);
		const ports = { GANGWAY_TLS_PORT: "0", GANGWAY_HTTP_PORT: taken, GANGWAY_SSH_PORT: "0" };
		const stderr = await refusal([], { ...ports, GANGWAY_RUNTIME: "linux" });
		const said = stderr.split("\n").filter((line) => line.startsWith("gangway: "));
		expect(said).toEqual([expect.stringMatching(`GANGWAY_HTTP_PORT: port ${taken} is taken`)]);
	});

	test.each<[string, string[], Record<string, string>, RegExp]>([
		["a flag", ["--tls-port", "70000"], {}, /^gangway: --tls-port: "70000" .*; allowed: .*65535.*\n$/],
		[
			"a variable",
			[],
			{ GANGWAY_RUNTIME: "podman" },
			/^gangway: GANGWAY_RUNTIME: "podman" .*; allowed: auto, linux, docker.*\n$/,
		],
		["a time", [], { GANGWAY_SSH_IDLE_TIMEOUT: "15m" }, /^gangway: GANGWAY_SSH_IDLE_TIMEOUT: "15m" .*; allowed: .*\n$/],
		[
			"a name that is none",
			[],
			{ GANGWAY_TLSPORT: "1" },
			/^gangway: GANGWAY_TLSPORT: .*did you mean GANGWAY_TLS_PORT\?\n$/,
		],
		[
			"half a certificate",
			[],
			{ GANGWAY_TLS_CERT: "/c.pem" },
			/^gangway: GANGWAY_TLS_CERT: "\/c\.pem" is set without tls_key; allowed: .*\n$/,
		],
		[
			"a public address",
			["--runtime", "linux", "--bind", "0.0.0.0"],
			{},
			/^gangway: --bind: "0\.0\.0\.0" .*--allow-trusted-runtime\n$/,
		],
	])("one line about %s", async (_, args, env, line) => {
		expect(await refusal(args, env)).toMatch(line);
	});

	test("one line about the file, and flags win over variables over the file", async () => {
		await writeFile(join(directory, "gangway.yaml"), "http_port: -1\n");
		expect(await refusal([])).toMatch(/^gangway: http_port in \S*gangway\.yaml: "-1" .*; allowed: .*\n$/);
		expect(await refusal([], { GANGWAY_HTTP_PORT: "x" })).toMatch(/^gangway: GANGWAY_HTTP_PORT: "x"/);
		expect(await refusal(["--http-port", "y"], { GANGWAY_HTTP_PORT: "x" })).toMatch(/^gangway: --http-port: "y"/);
		await rm(join(directory, "gangway.yaml"));
	});

	test("a secret that is wrong is not shown", async () => {
		const stderr = await refusal([], { GANGWAY_MASTER_KEY: "not-a-key-but-perhaps-nearly" });
		expect(stderr).toMatch(/^gangway: GANGWAY_MASTER_KEY: .*; allowed: .*\n$/);
		expect(stderr).not.toContain("nearly");
	});
});

describe("gangway up", () => {
	let newcomer: Daemon;
	let took: number;
	beforeAll(async () => {
		const began = performance.now();
		newcomer = await Daemon.start({ command: "up", env: { GANGWAY_ADMIN_API_KEY: "" } });
		took = performance.now() - began;
	});
	afterAll(() => newcomer?.remove());

	/** What the last start printed. */
	async function printed(): Promise<string> {
		const output = () => newcomer.stdout.slice(newcomer.stdout.lastIndexOf("ready "));
		return until("all is printed", () => (/CA {7}.*\n/.test(output()) ? output() : undefined));
	}

	test("prints a tunnel URL and an ssh command that work as they are", async () => {
		const output = await printed();
		console.log(`gangway up: ready with the demo after ${Math.round(took)} ms`);
		const [, demoUrl] = /demo {5}(\S+)\n/.exec(output)!;
		const [, command] = /\n {11}(ssh .*)\n/.exec(output)!;
		const page = await shell(`curl -sS ${demoUrl}`);
		expect(page.stdout.toString()).toContain("Hello from a devbox");
		const who = await shell(`${command} 'id -un; hostname' </dev/null`);
		expect(who).toMatchObject({ code: 0, stderr: "" });
		expect(who.stdout.toString()).toMatch(/^user\ndbx-[0-9a-z]{26}\n$/);
		const interactive = await shell(`echo 'echo $((6 * 7))' | ${command} 2>/dev/null`);
		expect(interactive.stdout.toString()).toMatch(/\b42\n/);
	});

	test("says where the API key lies, and it is one", async () => {
		const [, file] = /API key {2}(\S+)\n/.exec(await printed())!;
		const bearerToken = (await readFile(file!, "utf8")).trim();
		const { devboxes } = await newcomer.sdk({ bearerToken }).api.devboxes.list();
		expect(devboxes).toMatchObject([{ name: "demo", status: "running" }]);
	});

	test("a second start prints the same and makes no second box", async () => {
		const before = await printed();
		expect(await newcomer.stop()).toBe(0);
		await newcomer.start();
		expect(await printed()).toBe(before);
		expect((await newcomer.sdk().api.devboxes.list()).devboxes).toHaveLength(1);
	});

	test("a suspended demo wakes at its URL", async () => {
		const output = await printed();
		const { api } = newcomer.sdk();
		const [box] = (await api.devboxes.list()).devboxes;
		await api.devboxes.suspend(box!.id);
		await api.devboxes.awaitSuspended(box!.id);
		const [, demoUrl] = /demo {5}(\S+)\n/.exec(output)!;
		await until("the demo answers again", async () => (await curl(demoUrl!)).text.includes("Hello from a devbox"));
	});
});
