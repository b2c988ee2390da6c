/** Servers on a box's loopback, as most dev servers are unless told otherwise. */
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import WebSocket, { type ClientOptions } from "ws";
import type { CreateParams } from "./support/box.js";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Door, lookup } from "./support/door.js";
import { SshClient } from "./support/ssh.js";
import { withWebServer } from "./support/web-server.js";

/** Of the server in the box, on 127.0.0.1; 5001 is one on ::1, on 5002 nothing listens. */
const [app, six, nothing] = [8080, 5001, 5002];
let daemon: Daemon;
let door: Door;
let ssh: SshClient;

beforeAll(async () => {
	daemon = await Daemon.start();
	door = await Door.of(
		daemon,
		onLoopback({ loopback_ports: [app, six, nothing], wake_on_http: true, wake_mode: "hold" }),
	);
	ssh = await SshClient.for(daemon, door.id);
});
afterAll(() => daemon?.remove());

function onLoopback(tunnel: object): CreateParams {
	const params = withWebServer({
		tunnel,
		launch_parameters: { launch_commands: [`nohup python3 -m http.server --bind ::1 ${six} >six.log 2>&1 &`] },
	});
	const files = params.file_mounts!;
	return {
		...params,
		file_mounts: { ...files, "server.mjs": files["server.mjs"]!.replaceAll("0.0.0.0", "127.0.0.1") },
	};
}

const sha256 = (content: Buffer) => createHash("sha256").update(content).digest("hex");

test("a port that is not named is reached on the box's address only", async () => {
	const other = await Door.of(daemon, onLoopback({}));
	expect((await curl(other.url())).status).toBe(503);
	await other.shutdown();
});

test("a server on 127.0.0.1 is reached, one on ::1 too", async () => {
	expect(await curl(door.url())).toMatchObject({ status: 200, headers: { "x-from-the-box": "yes" } });
	expect((await curl(door.url("/server.mjs", six))).text).toContain("A web server that tests run inside a devbox");
});

test("50 MB up and down come through unchanged", async () => {
	const file = join(daemon.dataDir, "50MB");
	const content = randomBytes(50_000_000);
	await writeFile(file, content);
	const up = await curl("-T", file, door.url("/sink"));
	expect(JSON.parse(up.text)).toEqual({ bytes: content.length, sha256: sha256(content) });
	const down = await curl(door.url("/keystream?bytes=50000000"));
	const keystream = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(50_000_000));
	expect(sha256(down.body)).toBe(sha256(keystream));
});

test("300 requests at once, and a WebSocket", async () => {
	const url = door.url("/echo?n=[1-300]");
	const answers = await curl(
		"--parallel",
		"--parallel-immediate",
		"--parallel-max",
		"300",
		"-w",
		"\n%{http_code}\n",
		url,
	);
	expect(answers.text.match(/^200$/gm)).toHaveLength(300);
	const socket = new WebSocket(door.url("/").replace("http", "ws"), { lookup } as ClientOptions);
	await once(socket, "open");
	socket.send("close 4001 enough");
	expect((await once(socket, "close"))[0]).toBe(4001);
});

test("after a resume it is found again", async () => {
	await door.suspend();
	expect((await curl(door.url())).status).toBe(200);
});

test("where nothing listens at all: held while the box is new, and then answered once something does", async () => {
	const held = curl(door.url("/", nothing));
	await ssh.out(`nohup python3 -m http.server --bind 127.0.0.1 ${nothing} >nothing.log 2>&1 </dev/null & disown`);
	expect((await held).status).toBe(200);
});
