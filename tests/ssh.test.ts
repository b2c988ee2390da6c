/** The system's OpenSSH clients, through both ways in as documented: what they do to any host they do to a devbox. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
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
});
afterAll(() => daemon?.remove());

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** A port of this host that was free just now, for clients that cannot pick one themselves. */
async function freePort(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as { port: number };
	await new Promise((resolve) => server.close(resolve));
	return port;
}

/** An ssh that stays open; forwards are in place when this resolves. */
async function open(client: SshClient, ...options: string[]): Promise<Conversation> {
	const session = new Conversation(client.spawn(["echo open; cat"], ["-o", "ExitOnForwardFailure=yes", ...options]));
	onTestFinished(() => session.kill());
	await session.sees(/^open$/m);
	return session;
}

/** In the box: a program that answers whoever connects. Resolves once it listens. */
async function serve(client: SshClient, listen: string, answer: string): Promise<void> {
	const script = `require("net").createServer({ allowHalfOpen: true }, (socket) => socket.end(${answer}))
		.listen(${listen}, () => console.log("listening"))`;
	const server = new Conversation(client.spawn([`node -e '${script}'`], ["-tt"]));
	onTestFinished(() => server.kill());
	await server.sees(/listening/);
}

describe.each(["passthrough", "gateway"] as const)("%s:", (way) => {
	beforeAll(async () => {
		ssh = way === "gateway" ? await SshClient.throughGateway(daemon, box.id) : box.ssh;
		await ssh.out("rm -rf scp sftp rsync /tmp/box.sock");
	});

	describe("exec", () => {
		test.each([
			["true", 0],
			["false", 1],
			["exit 42", 42],
			["no-such-command", 127],
			["kill -KILL $$", 255],
		])("%s ends with %i", async (command, code) => {
			const result = await ssh.run(`echo before; ${command}`);
			expect(result).toMatchObject({ code, stdout: Buffer.from("before\n") });
		});

		test("stdin ends when the client's does, and the answer still arrives", async () => {
			expect(await ssh.out("cat; echo end", "one\ntwo\n")).toBe("one\ntwo\nend");
			expect(await ssh.out("wc -c", "")).toBe("0");
		});

		test("stdout and stderr come apart", async () => {
			const result = await ssh.run("echo out; echo err >&2; echo out; echo err >&2");
			expect(result).toEqual({ code: 0, stdout: Buffer.from("out\nout\n"), stderr: "err\nerr\n" });
		});

		test("50 MB arrive exactly, each way", async () => {
			const bytes = randomBytes(50_000_000);
			expect(await ssh.out("tee 50mb | sha256sum", bytes)).toContain(sha256(bytes));
			const { code, stdout } = await ssh.run("cat 50mb; rm 50mb");
			expect(code).toBe(0);
			expect(stdout.length).toBe(bytes.length);
			expect(sha256(stdout)).toBe(sha256(bytes));
		});

		test("50 MB echoed arrive exactly, both ways at once", async () => {
			const bytes = randomBytes(50_000_000);
			const { code, stdout } = await ssh.run("cat", bytes);
			expect(code).toBe(0);
			expect(sha256(stdout)).toBe(sha256(bytes));
		});

		test("the command reaches the box's shell as it is", async () => {
			const odd = `a  b "c" 'd' $HOME \`id\` \\n * ünïcødé ☃\n!`;
			const quoted = `'${odd.replaceAll("'", "'\\''")}'`;
			expect(await ssh.out(`printf %s ${quoted}`)).toBe(odd);
			expect(await ssh.out('printf "%s|" $((6 * 7)) "$USER" ~')).toBe("42|user|/home/user|");
			// Several arguments are joined by ssh itself.
			expect(await collect(ssh.spawn(["printf", "%s,", "'a b'", "c"]))).toMatchObject({
				stdout: Buffer.from("a b,c,"),
			});
		});

		test("a script on stdin", async () => {
			expect(await ssh.out("sh -s -- arg", 'echo "got $1"; exit 0; echo never')).toBe("got arg");
		});

		test("many at once", async () => {
			const numbers = Array.from({ length: 12 }, (_, n) => String(n));
			expect(await Promise.all(numbers.map((n) => ssh.out("cat", n)))).toEqual(numbers);
		});
	});

	describe("terminal", () => {
		/** ssh in a terminal of this host, as somebody sits before it; `script` makes the terminal. */
		async function terminal(
			command: string,
		): Promise<{ session: Conversation; resize(rows: number, columns: number): void }> {
			const client = ["ssh", "-tt", ...ssh.options(), ssh.target, command].map(
				(word) => `'${word.replaceAll("'", "'\\''")}'`,
			);
			const script = `tty; stty rows 24 cols 80; exec ${client.join(" ")}`;
			const session = new Conversation(
				spawn("script", ["-q", "-e", "-c", script, "/dev/null"], { env: { ...process.env, TERM: "xterm-256color" } }),
			);
			onTestFinished(() => session.kill());
			const [tty] = await session.sees(/^\/dev\/pts\/\d+/m);
			const resize = (rows: number, columns: number) => {
				spawn("stty", ["-F", tty, "rows", String(rows), "cols", String(columns)]);
			};
			return { session, resize };
		}

		test("has the client's size and type; a program in the box is signalled when the window changes", async () => {
			// Blocked, a signal waits until it is asked for: none is lost. stty changes rows and columns one after the other.
			const program = `
				import os, signal, sys
				def size(): return tuple(reversed(os.get_terminal_size()))
				signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
				print("began", *size(), os.environ["TERM"], flush=True)
				while True:
				    signal.sigwait([signal.SIGWINCH])
				    print("resized", *size(), flush=True)
				    if size() == (50, 132): sys.exit(7)`.replaceAll("\n\t\t\t\t", "\n");
			const { session, resize } = await terminal(`python3 -c '${program}'`);
			await session.sees(/began 24 80 xterm-256color/);
			resize(50, 132);
			await session.sees(/resized 50 132/);
			expect(await session.ended).toBe(7);
		});

		test("a login shell; Ctrl-C and Ctrl-D as at any host", async () => {
			const { session } = await terminal("exec bash -l");
			await session.sees(/\$ $/);
			session.say("cat\n");
			await session.sees(/cat\r?\n/);
			session.say("echoed\n");
			await session.sees(/echoed\r?\n[\s\S]*echoed\r?\n/);
			session.say("\x03");
			await session.sees(/\^C[\s\S]*\$ $/);
			session.say("echo status=$?.\n");
			await session.sees(/status=130\./);
			await session.sees(/130\.[\s\S]*\$ $/);
			session.say("\x04");
			expect(await session.ended).toBe(0);
		});

		test("when the client is gone, so is what it ran", async () => {
			const session = new Conversation(ssh.spawn(["echo pid=$$.; exec sleep 987"], ["-tt"]));
			onTestFinished(() => session.kill());
			const [, pid] = await session.sees(/pid=(\d+)\./);
			expect(await ssh.out(`kill -0 ${pid} && echo runs`)).toBe("runs");
			await session.kill();
			await until("the process ends", async () => (await ssh.run(`kill -0 ${pid}`)).code !== 0);
		});
	});

	describe("files", () => {
		const content = randomBytes(3_000_000);
		let local: string;
		beforeAll(async () => {
			local = join(ssh.directory, "files");
			await mkdir(join(local, "tree/deep dir"), { recursive: true });
			await writeFile(join(local, "tree/run me.sh"), "#!/bin/sh\necho ran\n");
			await chmod(join(local, "tree/run me.sh"), 0o750);
			await writeFile(join(local, "tree/deep dir/ünï ☃"), content);
			await writeFile(join(local, "tree/empty"), "");
		});

		async function expectTree(directory: string) {
			expect(sha256(await readFile(join(directory, "deep dir/ünï ☃")))).toBe(sha256(content));
			expect(await readFile(join(directory, "empty"), "utf8")).toBe("");
			expect((await stat(join(directory, "run me.sh"))).mode & 0o777).toBe(0o750);
		}

		test("scp, both ways", async () => {
			const up = await ssh.tool("scp", ["-r", "-p", join(local, "tree"), `${ssh.target}:scp`]);
			expect(up).toMatchObject({ code: 0, stderr: "" });
			expect(await ssh.out(`~/scp/'run me.sh'; sha256sum < scp/deep*/ünï*`)).toContain(sha256(content));
			const copy = join(local, "scp");
			const down = await ssh.tool("scp", ["-r", "-p", `${ssh.target}:scp`, copy]);
			expect(down).toMatchObject({ code: 0, stderr: "" });
			await expectTree(copy);
		});

		test("scp -O", async () => {
			const file = join(local, "tree/run me.sh");
			const { code, stderr } = await ssh.tool("scp", ["-O", file, `${ssh.target}:legacy`]);
			if (way === "passthrough") {
				expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
				expect(await ssh.out("sh legacy")).toBe("ran");
			} else {
				expect(code).toBe(1);
				expect(stderr).toMatch(/^legacy scp mode is not supported; use scp without -O$/m);
			}
		});

		test("sftp", async () => {
			const commands = [
				"mkdir sftp",
				`put -R "${local}/tree" sftp/`,
				"rename sftp/tree sftp/moved",
				"ln -s moved sftp/link",
				"chmod 640 sftp/moved/empty",
				"ls -l sftp/moved",
				`get -R sftp/link "${local}/from-sftp"`,
				"-rm sftp/nothing",
				"rm sftp/moved/empty",
			];
			const result = await ssh.tool("sftp", ["-p", "-b", "-", ssh.target], `${commands.join("\n")}\n`);
			expect(result).toMatchObject({ code: 0 });
			expect(String(result.stdout)).toMatch(/-rw-r-----.*empty/);
			expect(sha256(await readFile(join(local, "from-sftp/deep dir/ünï ☃")))).toBe(sha256(content));
			expect(await ssh.out("readlink sftp/link; ls sftp/moved")).toBe("moved\ndeep dir\nrun me.sh");
		});

		test("rsync, both ways, sends what differs and nothing more", async () => {
			const config = await ssh.writeConfig("box");
			const rsync = (...args: string[]) =>
				collect(spawn("rsync", ["-a", "--stats", "--no-human-readable", "-e", `ssh -F ${config}`, ...args]));
			const literal = (stdout: Buffer) => Number(/Literal data: (\d+)/.exec(String(stdout))?.[1]);

			const first = await rsync(`${local}/tree/`, "box:rsync/");
			expect(first).toMatchObject({ code: 0, stderr: "" });
			expect(literal(first.stdout)).toBeGreaterThanOrEqual(content.length);

			await ssh.out(
				'cd rsync; touch new; cd deep*; printf changed | dd of="$(echo ünï*)" bs=1 seek=1000000 conv=notrunc status=none',
			);
			const back = await rsync("--ignore-times", "--delete", "box:rsync/", `${local}/back/`);
			expect(back).toMatchObject({ code: 0, stderr: "" });
			expect((await readFile(join(local, "back/deep dir/ünï ☃"))).subarray(1_000_000, 1_000_007).toString()).toBe(
				"changed",
			);

			const again = await rsync("--ignore-times", "--delete", `${local}/tree/`, "box:rsync/");
			expect(again).toMatchObject({ code: 0, stderr: "" });
			expect(literal(again.stdout)).toBeLessThan(20_000);
			expect(await ssh.out("sha256sum rsync/deep*/ünï*")).toContain(sha256(content));
			expect((await ssh.run("test -e rsync/new")).code).toBe(1);
		});
	});

	describe("forwarding", () => {
		test("-L to a port that listens on the box's loopback only", async () => {
			await serve(ssh, '8001, "127.0.0.1"', '"from the box"');
			const port = await freePort();
			await open(ssh, "-L", `127.0.0.1:${port}:localhost:8001`);
			expect(await collect(spawn("curl", ["-s", "--http0.9", `http://127.0.0.1:${port}/`]))).toMatchObject({
				stdout: Buffer.from("from the box"),
			});
		});

		test("-L with 50 MB", async () => {
			const bytes = randomBytes(50_000_000);
			await ssh.out("cat >forwarded", bytes);
			await serve(ssh, '8002, "127.0.0.1"', 'require("fs").readFileSync("forwarded")');
			const port = await freePort();
			await open(ssh, "-L", `127.0.0.1:${port}:127.0.0.1:8002`);
			const { stdout } = await collect(spawn("curl", ["-s", "--http0.9", `http://127.0.0.1:${port}/`]));
			expect(sha256(stdout)).toBe(sha256(bytes));
		});

		test("-L between Unix sockets", async () => {
			await serve(ssh, '"/tmp/box.sock"', '"from a socket"');
			const socket = join(ssh.directory, "local.sock");
			await open(ssh, "-L", `${socket}:/tmp/box.sock`);
			const { stdout } = await collect(spawn("curl", ["-s", "--http0.9", "--unix-socket", socket, "http://box/"]));
			expect(String(stdout)).toBe("from a socket");
		});

		test("-R to a server of this machine", async () => {
			const server = createServer((socket) => socket.end("from the laptop\n")).listen(0, "127.0.0.1");
			onTestFinished(() => void server.close());
			await once(server, "listening");
			const { port } = server.address() as { port: number };
			await open(ssh, "-R", `9001:127.0.0.1:${port}`);
			expect(await ssh.out("cat </dev/tcp/127.0.0.1/9001")).toBe("from the laptop");
		});

		test("-D, a SOCKS proxy into the box", async () => {
			const answer = '"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello"';
			await serve(ssh, '8003, "127.0.0.1"', answer);
			const port = await freePort();
			await open(ssh, "-D", `127.0.0.1:${port}`);
			expect(await curl("--socks5-hostname", `127.0.0.1:${port}`, "http://localhost:8003/")).toMatchObject({
				status: 200,
				text: "hello",
			});
		});

		test("-W, as ProxyJump uses it", async () => {
			expect(String((await collect(ssh.spawn([], ["-W", "127.0.0.1:22"]))).stdout)).toMatch(/^SSH-2\.0-OpenSSH/);
		});

		test("the agent", async () => {
			const socket = join(ssh.directory, "agent.sock");
			const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
			onTestFinished(() => void agent.kill());
			await until("the agent listens", async () => (await stat(socket)).isSocket());
			const key = join(ssh.directory, "personal");
			await collect(spawn("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]));
			const env = { ...process.env, SSH_AUTH_SOCK: socket };
			await collect(spawn("ssh-add", ["-q", key], { env }));
			const list = (...options: string[]) =>
				collect(spawn("ssh", [...ssh.options(...options), ssh.target, "ssh-add -L"], { env }));
			expect(String((await list("-A")).stdout)).toBe(await readFile(`${key}.pub`, "utf8"));
			expect((await list("-a")).code).toBe(2);
		});
	});

	test("one connection for many sessions (ControlMaster)", async () => {
		const path = join(ssh.directory, "mux");
		const master = await open(ssh, "-M", "-S", path);
		// A ProxyCommand that fails: only the master's connection is left.
		const multiplexed = ssh.with({ ControlPath: path, ControlMaster: "no", ProxyCommand: "false" });
		const numbers = Array.from({ length: 30 }, (_, n) => String(n));
		expect(await Promise.all(numbers.map((n) => multiplexed.out("cat", n)))).toEqual(numbers);
		expect(await master.hangUp()).toBe(0);
		expect((await multiplexed.run("true")).code).toBe(255);
	});
});

describe("as documented", () => {
	beforeAll(() => {
		({ ssh } = box);
	});

	test("plain `ssh <alias>` with an entry of ~/.ssh/config; scp and sftp with the same", async () => {
		const config = await ssh.writeConfig("dbx_alias", "  ServerAliveInterval 60\n");
		expect(await collect(spawn("ssh", ["-F", config, "dbx_alias", "whoami"]))).toMatchObject({
			code: 0,
			stdout: Buffer.from("user\n"),
		});
		const scp = await collect(spawn("scp", ["-F", config, config, "dbx_alias:config-copy"]));
		expect(scp).toMatchObject({ code: 0, stderr: "" });
		const sftp = await collect(spawn("sftp", ["-F", config, "-b", "-", "dbx_alias"]), "ls config-copy\n");
		expect(String(sftp.stdout)).toMatch(/^config-copy\s*$/m);
	});

	test("the command line of the official CLI", async () => {
		const known = join(ssh.directory, "known_hosts");
		const args = ["-F", "none", "-i", ssh.keyFile, "-o", `ProxyCommand=${ssh.proxyCommand}`];
		const result = await collect(
			spawn("ssh", [
				...args,
				...["-o", "StrictHostKeyChecking=no", "-o", `UserKnownHostsFile=${known}`],
				ssh.target,
				"hostname",
			]),
		);
		expect(result).toMatchObject({ code: 0, stdout: Buffer.from(`${ssh.host.split(".")[0]}\n`) });
	});
});
