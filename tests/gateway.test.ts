/** The SSH gateway with the system's clients: what it does beyond what ssh.test.ts asks of both ways in. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Box } from "./support/box.js";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { Conversation, collect, SshClient } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let box: Box;
let ssh: SshClient;
beforeAll(async () => {
	daemon = await Daemon.start();
	box = await Box.create(daemon);
	ssh = await SshClient.throughGateway(daemon, box.id);
});
afterAll(() => daemon?.remove());

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** An ssh that stays open; forwards are in place when this resolves. */
async function open(client: SshClient, ...options: string[]): Promise<Conversation> {
	const session = new Conversation(client.spawn(["echo open; cat"], ["-o", "ExitOnForwardFailure=yes", ...options]));
	onTestFinished(() => session.kill());
	await session.sees(/^open$/m);
	return session;
}

async function freePort(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as { port: number };
	await new Promise((resolve) => server.close(resolve));
	return port;
}

describe("ways to it", () => {
	test("the username may end in +main, and in nothing else", async () => {
		expect(await ssh.as(`${box.id}+main`).out("whoami")).toBe("user");
		for (const name of [`${box.id}+other`, `${box.id}+`, box.id.toUpperCase(), "root"]) {
			expect((await ssh.as(name).run("true")).stderr).toContain("Permission denied (publickey).");
		}
	});

	test("over TLS, by the name ssh.<domain>", async () => {
		const proxy = `openssl s_client -quiet -servername ssh.${daemon.endpoints.domain} -connect ${daemon.connect} 2>/dev/null`;
		const client = ssh.with({ ProxyCommand: proxy });
		const bytes = randomBytes(5_000_000);
		expect(sha256((await client.run("cat", bytes)).stdout)).toBe(sha256(bytes));
	});

	test("the host keys are the ones in ssh_known_hosts, of both kinds, and stay over restarts", async () => {
		const known = join(daemon.dataDir, "ssh_known_hosts");
		const strict = ssh.with({ StrictHostKeyChecking: "yes", UserKnownHostsFile: known });
		const keys = async () => {
			const scan = spawn("ssh-keyscan", ["-p", String(daemon.endpoints.ssh_port), "127.0.0.1"]);
			const lines = String((await collect(scan)).stdout)
				.trim()
				.split("\n");
			return lines.filter((line) => !line.startsWith("#")).map((line) => line.split(" ")[1]);
		};
		const before = await keys();
		expect(before.sort()).toEqual(["ecdsa-sha2-nistp256", "ssh-ed25519"]);
		for (const HostKeyAlgorithms of before as string[]) {
			expect(await strict.with({ HostKeyAlgorithms }).out("echo known")).toBe("known");
		}
		const file = await readFile(known, "utf8");
		await daemon.stop();
		await daemon.start();
		expect(await readFile(known, "utf8")).toBe(file);
		expect(await strict.out("echo known")).toBe("known");
	});

	test("an RSA key signs by SHA-2, not by SHA-1", async () => {
		const client = await SshClient.throughGateway(daemon, box.id, undefined, ["-t", "rsa", "-b", "2048"]);
		expect(await client.out("echo in")).toBe("in");
		expect((await client.with({ PubkeyAcceptedAlgorithms: "ssh-rsa" }).run("true")).code).toBe(255);
	});

	test("passwords are never asked for", async () => {
		const client = ssh.with({ PubkeyAuthentication: "no", PreferredAuthentications: "password,keyboard-interactive" });
		expect((await client.run("true")).stderr).toContain("Permission denied (publickey).");
	});
});

describe("programs", () => {
	test("git clones, and pushes back", async () => {
		await ssh.out(
			"git init -q --bare repo.git; git init -q w; cd w; git config user.email a@b.c; git config user.name a; head -c 3000000 /dev/urandom >file; git add .; git commit -qm one; git push -q ../repo.git HEAD:refs/heads/main",
		);
		const config = await ssh.writeConfig("gateway");
		const directory = join(ssh.directory, "clone");
		const env = { ...process.env, GIT_SSH_COMMAND: `ssh -F ${config}`, GIT_CONFIG_NOSYSTEM: "1" };
		const git = (...args: string[]) => collect(spawn("git", args, { env }));
		const url = "ssh://gateway/home/user/repo.git";
		expect(await git("clone", "-q", "-b", "main", url, directory)).toMatchObject({ code: 0, stderr: "" });
		expect(await ssh.out("sha256sum < w/file")).toContain(sha256(await readFile(join(directory, "file"))));
		expect(await git("-C", directory, "push", "-q", "origin", "main:other")).toMatchObject({ code: 0 });
		expect(await ssh.out("git -C repo.git branch --list other")).toContain("other");
	});

	test("50 MB arrive exactly while the keys change every megabyte, both ways at once", async () => {
		const bytes = randomBytes(50_000_000);
		const rekeying = ssh.with({ RekeyLimit: "1M" });
		const both = Array.from({ length: 2 }, () => rekeying.run("cat", bytes));
		for (const { code, stdout } of await Promise.all(both)) {
			expect([code, sha256(stdout)]).toEqual([0, sha256(bytes)]);
		}
	});

	test("a program that closes its output goes on, and its exit code still arrives", async () => {
		const session = ssh.spawn(["echo before; exec >&- 2>&-; read line; exit $line"]);
		const ended = once(session, "close");
		session.stdout!.resume();
		await once(session.stdout!, "end");
		session.stdin!.end("9\n");
		expect(await ended).toEqual([9, null]);
	});

	test("variables go where the box's sshd lets them", async () => {
		const env = { ...process.env, LC_GATEWAY: "through", OTHER_GATEWAY: "not" };
		const args = [...ssh.with({ SendEnv: "LC_GATEWAY OTHER_GATEWAY" }).options(), ssh.target];
		const { stdout } = await collect(spawn("ssh", [...args, 'echo "$LC_GATEWAY,$OTHER_GATEWAY"'], { env }));
		expect(String(stdout)).toBe("through,\n");
	});

	test("-R with a Unix socket, and the port that sshd picks", async () => {
		const server = createServer((socket) => socket.end("from the laptop\n")).listen(0, "127.0.0.1");
		onTestFinished(() => void server.close());
		await once(server, "listening");
		const { port } = server.address() as { port: number };
		const session = await open(
			ssh.with({ LogLevel: "INFO" }),
			...["-R", `/tmp/laptop.sock:127.0.0.1:${port}`, "-R", `0:127.0.0.1:${port}`],
		);
		const [, picked] = await session.sees(/Allocated port (\d+)/);
		expect(await ssh.out(`cat </dev/tcp/127.0.0.1/${picked}`)).toBe("from the laptop");
		const viaSocket = 'node -e \'require("net").connect("/tmp/laptop.sock").pipe(process.stdout)\'';
		expect(await ssh.out(viaSocket)).toBe("from the laptop");
	});

	test("as ProxyJump to another devbox's own sshd", async () => {
		const config = await ssh.writeConfig("gateway");
		const inner = box.ssh.options("-o", `ProxyCommand=ssh -F ${config} -W 127.0.0.1:22 gateway`);
		expect(String((await collect(spawn("ssh", [...inner, box.ssh.target, "whoami"]))).stdout)).toBe("user\n");
	});
});

test("what VS Code Remote-SSH does: a script on stdin, a server in the box, SOCKS and forwards over one connection", async () => {
	const socksPort = await freePort();
	const path = join(ssh.directory, "vscode");
	await open(ssh, "-M", "-S", path, "-D", `127.0.0.1:${socksPort}`);
	const shared = ssh.with({ ControlPath: path, ControlMaster: "no" });
	const server = `
		mkdir -p ~/.vscode-server; cd ~/.vscode-server
		cat >server.js <<-'JS'
		const http = require("http");
		const answer = (req, res) => res.end("hello from " + req.url);
		http.createServer(answer).listen("/tmp/vscode.sock");
		const tcp = http.createServer(answer).listen(0, "127.0.0.1", () => console.log("listeningOn==" + tcp.address().port + "=="));
		JS
		nohup node server.js >log 2>&1 </dev/null &
		until grep -q listeningOn log; do sleep 0.05; done
		cat log; echo exitCode==0==`;
	const { stdout } = await collect(shared.spawn(["bash", "-s"]), server);
	expect(String(stdout)).toMatch(/exitCode==0==/);
	const remotePort = /listeningOn==(\d+)==/.exec(String(stdout))![1];
	onTestFinished(async () => void (await ssh.run("pkill -f server.js")));
	const probes = Array.from({ length: 30 }, (_, n) => shared.out(`uname -s; echo ${n}; test -d ~/.vscode-server`));
	expect(await Promise.all(probes)).toEqual(probes.map((_, n) => `Linux\n${n}`));
	const socks = ["--socks5-hostname", `127.0.0.1:${socksPort}`];
	const requests = Array.from({ length: 20 }, (_, n) => curl(...socks, `http://localhost:${remotePort}/${n}`));
	expect((await Promise.all(requests)).map(({ text }) => text)).toEqual(requests.map((_, n) => `hello from /${n}`));
	const socket = join(ssh.directory, "vscode.sock");
	await open(ssh, "-L", `${socket}:/tmp/vscode.sock`);
	expect((await curl("--unix-socket", socket, "http://box/socket")).text).toBe("hello from /socket");
});

describe("a box that does not run", () => {
	test("is resumed; the user reads so, and the session goes on as any other", async () => {
		const bytes = randomBytes(1_000_000);
		for (const client of [ssh, ssh.with({ RequestTTY: "force" })]) {
			await box.suspend();
			const tty = client !== ssh;
			const { code, stdout, stderr } = await client.run("cat; exit 3", tty ? "\x04" : bytes);
			expect([code, stderr]).toEqual([3, expect.stringMatching(/^gateway: resuming the devbox\.\.\.\r?\n/)]);
			if (!tty) expect(sha256(stdout)).toBe(sha256(bytes));
		}
	});

	test("is resumed for a forward too", async () => {
		await box.suspend();
		const { stdout } = await collect(ssh.spawn([], ["-W", "127.0.0.1:22"]));
		expect(String(stdout)).toMatch(/^SSH-2\.0-OpenSSH/);
	});

	test("is not resumed when its creator did not want that: one line, and 1", async () => {
		const { id } = await Box.create(daemon, {
			// The official client does not know of `ssh`.
			launch_parameters: { lifecycle: { resume_triggers: { ssh: false } as object } },
		});
		const { devboxes } = daemon.sdk().api;
		await devboxes.suspend(id);
		await devboxes.awaitSuspended(id);
		const client = ssh.as(id);
		expect(await client.run("true")).toMatchObject({ code: 1, stderr: "gateway: the devbox is suspended\r\n" });
		expect((await collect(client.spawn([], ["-tt"]))).stderr).toContain("gateway: the devbox is suspended\r\n");
		const forward = await client.with({ LogLevel: "INFO" }).spawn([], ["-W", "127.0.0.1:22"]);
		expect(await collect(forward)).toMatchObject({
			code: 255,
			stderr: expect.stringContaining("the devbox is suspended"),
		});
		expect((await devboxes.retrieve(id)).status).toBe("suspended");
	});

	test("that cannot start gives one line, and 1", async () => {
		const { id } = await Box.create(daemon, { launch_parameters: { launch_commands: ["test ! -e ~/broken"] } });
		const client = ssh.as(id);
		await client.out("touch ~/broken");
		const { devboxes } = daemon.sdk().api;
		await devboxes.suspend(id);
		await devboxes.awaitSuspended(id);
		const { code, stderr } = await client.run("true");
		expect(code).toBe(1);
		expect(stderr).toBe("gateway: resuming the devbox...\r\ngateway: the devbox could not be started\r\n");
	});
});

describe("what breaks", () => {
	test("the box's sshd is killed: the client hears of it and ends", async () => {
		const session = await open(ssh.with({ LogLevel: "INFO" }));
		await ssh.run("sudo pkill -KILL -f 'sshd: user'");
		expect(await session.ended).toBe(255);
		expect(session.output).toContain("the connection to the devbox was lost");
		expect(await until("sshd is back", async () => (await ssh.run("echo back")).code === 0)).toBe(true);
	});

	test("the box is suspended, or shut down: so is the session", async () => {
		const session = await open(ssh.with({ LogLevel: "INFO" }));
		await box.suspend();
		expect(await session.ended).toBe(255);
		expect(session.output).toMatch(/the devbox was stopped|the connection to the devbox was lost/);
		const other = await Box.create(daemon);
		const last = await open(ssh.as(other.id));
		await daemon.sdk().api.devboxes.shutdown(other.id);
		expect(await last.ended).toBe(255);
		expect((await ssh.as(other.id).run("true")).stderr).toContain("Permission denied");
	});

	test("the daemon is stopped: a session that does not end by itself is told", async () => {
		const session = await open(ssh);
		await daemon.stop();
		await session.ended;
		expect(session.output).toContain("the gateway is stopping");
		await daemon.start();
	});

	test("the daemon is killed in the middle of a copy: the box loses nothing, and the next start serves again", async () => {
		const bytes = randomBytes(20_000_000);
		const local = join(ssh.directory, "copied");
		await writeFile(local, bytes);
		await ssh.out("cat >kept", bytes);
		const copy = new Conversation(ssh.spawn(["cat kept; sleep 600"]));
		await copy.sees(/./);
		await daemon.kill();
		expect(await copy.ended).toBe(255);
		await daemon.start();
		expect(await SshClient.atGateway(daemon, box.id, ssh.keyFile).out("sha256sum <kept")).toContain(sha256(bytes));
	});
});

test("data is activity, keepalives are not", async () => {
	const { id } = await Box.create(daemon, {
		launch_parameters: { after_idle: { idle_time_seconds: 3, on_idle: "suspend" } },
	});
	const client = SshClient.atGateway(daemon, id, ssh.keyFile);
	const busy = new Conversation(
		client.spawn(["for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.5; done; echo done; cat"]),
	);
	onTestFinished(() => busy.kill());
	await busy.sees(/^done$/m);
	const silent = new Conversation(client.with({ ServerAliveInterval: "1" }).spawn(["cat"]));
	onTestFinished(() => silent.kill());
	expect(await silent.ended).toBe(255);
	await daemon.sdk().api.devboxes.awaitSuspended(id);
});
