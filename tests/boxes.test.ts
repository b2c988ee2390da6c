/** What a devbox's creator asks for is what its user finds inside. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Box, type CreateParams } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { Conversation } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
beforeAll(async () => {
	// A careful administrator's umask is the daemon's own affair: boxes have the usual one.
	const umask = process.umask(0o077);
	daemon = await Daemon.start();
	process.umask(umask);
});
afterAll(() => daemon?.remove());

const create = (params: CreateParams = {}) => Box.create(daemon, params);

describe("the user", () => {
	test("is `user` with uid 1000 and may become root without a password", async () => {
		const { ssh } = await create();
		expect(await ssh.out("id; umask; echo $HOME $SHELL; pwd; sudo -n id -u; sudo -n sh -c 'echo ~'")).toBe(
			[
				"uid=1000(user) gid=1000(user) groups=1000(user)",
				"0022",
				"/home/user /bin/bash",
				"/home/user",
				"0",
				"/root",
			].join("\n"),
		);
	});

	test("can be another, with a uid of its own", async () => {
		const box = await create({
			launch_parameters: {
				user_parameters: { username: "dev-1", uid: 4321 },
				launch_commands: ["id -un >~/launched-by"],
			},
			file_mounts: { "notes/a": "a" },
		});
		expect(box.ssh.user).toBe("dev-1");
		expect(await box.ssh.out("id -un; id -u; cat ~/launched-by; stat -c %U:%G ~/notes/a; sudo -n id -un")).toBe(
			["dev-1", "4321", "dev-1", "dev-1:dev-1", "root"].join("\n"),
		);
	});

	test("can be root", async () => {
		const box = await create({
			launch_parameters: { user_parameters: { username: "root", uid: 0 }, launch_commands: ["pwd >~/where"] },
			file_mounts: { "~/notes": "n" },
		});
		expect(box.ssh.user).toBe("root");
		expect(await box.ssh.out("id -u; pwd; cat where notes")).toBe("0\n/root\n/root\nn");
	});
});

describe("environment variables", () => {
	const variables: Record<string, string> = {
		PLAIN: "plain",
		EMPTY: "",
		SPACES: "  two  spaces  ",
		QUOTES: `it's "quoted"`,
		DOLLAR: `$HOME \${PATH} $(id) \`id\``,
		BACKSLASH: "a\\b \\n \\\\ \\",
		UNICODE: "ünïcødé ☃ 日本",
		OTHERS: "#;&|<>*?[]{}()!~=%,:@^",
		EQUALS: "a=b=c",
		PATH: "/opt/mine/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		HTTP_PROXY: "http://user:pa%24s@proxy:3128/",
	};
	const print = Object.keys(variables)
		.map((name) => `printf '%s=%s\\n' ${name} "$${name}";`)
		.join(" ");
	const expected = Object.entries(variables)
		.map(([name, value]) => `${name}=${value}\n`)
		.join("");
	let box: Box;
	beforeAll(async () => {
		box = await create({
			environment_variables: variables,
			entrypoint: `{ ${print} } >/tmp/entrypoint.part; mv /tmp/entrypoint.part /tmp/entrypoint; exec sleep infinity`,
			launch_parameters: { launch_commands: [`{ ${print} } >/tmp/launch`] },
		});
	});

	test("are exact in a remote command", async () => {
		expect(`${await box.ssh.out(print)}\n`).toBe(expected);
	});

	test("are exact in a login shell", async () => {
		expect(`${await box.ssh.out(`bash -lc '${print.replaceAll("'", "'\\''")}'`)}\n`).toBe(expected);
	});

	test("are exact in an interactive session", async () => {
		const session = new Conversation(box.ssh.spawn([], ["-tt"]));
		session.say("stty -echo; PS1=; bind 'set enable-bracketed-paste off'; printf 'be%s\\n' gin\n");
		await session.sees(/^begin\r$/m);
		session.say(`{ ${print} } >/tmp/interactive; exit\n`);
		expect(await session.hangUp()).toBe(0);
		expect(`${await box.ssh.out("cat /tmp/interactive")}\n`).toBe(expected);
	});

	test.each(["launch", "entrypoint"])("are exact in the %s command", async (where) => {
		await until("it has run", async () => (await box.ssh.run(`test -e /tmp/${where}`)).code === 0);
		expect(`${await box.ssh.out(`cat /tmp/${where}`)}\n`).toBe(expected);
	});

	test("leave alone what is not asked for: node is in the PATH of every kind of session", async () => {
		const { ssh } = await create({ launch_parameters: { launch_commands: ["command -v node >/tmp/launch"] } });
		const node = await ssh.out("command -v node");
		expect(await ssh.out("bash -lc 'command -v node /opt/gangway/bin/node'")).toBe(`${node}\n/opt/gangway/bin/node`);
		expect(await ssh.out("bash -lc 'echo $PATH'")).toMatch(/(^|:)\/opt\/gangway\/bin(:|$)/);
		expect(await ssh.out("cat /tmp/launch")).toBe(node);
	});

	test("that no session could carry exactly are refused by name", async () => {
		const { devboxes } = daemon.sdk().api;
		for (const [name, value] of [
			["A-B", "x"],
			["LINES_", "two\nlines"],
		] as const) {
			const refused = devboxes.create({ environment_variables: { [name]: value } });
			await expect(refused).rejects.toMatchObject({ status: 400, message: expect.stringContaining(name) });
		}
	});
});

describe("files", () => {
	test("of file_mounts and mounts lie where they belong, exactly, as the user's", async () => {
		const content = "line\n\ttab ünïcødé ☃ $HOME `id` \\ \"'\r\nno end";
		const files: Record<string, string> = {
			"/etc/app/config.d/a.conf": "/etc/app/config.d/a.conf",
			"/srv/a": "/srv/a",
			"~/in-home": "/home/user/in-home",
			"relative/and/nested/b": "/home/user/relative/and/nested/b",
			"-n": "/home/user/-n",
			"odd name 'with' \"all\" $of *it* ☃": "/home/user/odd name 'with' \"all\" $of *it* ☃",
			"/home/user/.ssh/config": "/home/user/.ssh/config",
			__proto__x: "/home/user/__proto__x",
			empty: "/home/user/empty",
		};
		const names = Object.keys(files);
		const contentOf = (name: string) => (name === "empty" ? "" : `${content}${name}`);
		const box = await create({
			file_mounts: Object.fromEntries(names.slice(0, 5).map((name) => [name, contentOf(name)])),
			mounts: names.slice(5).map((target) => ({ type: "file_mount", target, content: contentOf(target) })),
			launch_parameters: { launch_commands: ["cat relative/and/nested/b >seen-by-launch"] },
		});
		for (const [name, path] of Object.entries(files)) {
			const quoted = `'${path.replaceAll("'", "'\\''")}'`;
			expect(await box.ssh.out(`stat -c '%U %a' ${quoted}; cat ${quoted}; echo .`)).toBe(
				`user 644\n${contentOf(name)}.`,
			);
		}
		expect(await box.ssh.out("cat seen-by-launch; echo .")).toBe(`${contentOf("relative/and/nested/b")}.`);
		expect(await box.ssh.out("stat -c '%U %a' /etc /etc/app ~/relative")).toBe("root 755\nuser 755\nuser 755");
	});

	test("are written once: what the user made of them stays", async () => {
		const box = await create({ file_mounts: { note: "first" } });
		await box.ssh.out("echo changed >note");
		await box.suspend();
		await box.resume();
		expect(await box.ssh.out("cat note")).toBe("changed");
	});
});

describe("launch commands", () => {
	test("run in order, in the home directory, before the box is called running, and at each start again", async () => {
		const box = await create({
			launch_parameters: {
				launch_commands: [
					"echo one >>order; pwd",
					"echo two >>order; echo to stderr >&2",
					"for n in 3 4\ndo echo $n\ndone >>order",
				],
			},
		});
		expect(await box.ssh.out("cat order")).toBe("one\ntwo\n3\n4");
		expect(await box.log()).toEqual(["/home/user", "exit 0", "to stderr", "exit 0", "exit 0"]);
		await box.suspend();
		await box.resume();
		expect(await box.ssh.out("cat order")).toBe("one\ntwo\n3\n4\none\ntwo\n3\n4");
	});

	test("may leave programs running", async () => {
		const box = await create({ launch_parameters: { launch_commands: ["sleep 4242 & echo $! >pid"] } });
		expect(await box.ssh.out("ps -o args= -p $(cat pid)")).toBe("sleep 4242");
	});

	test("one that fails at a resume puts the box back to sleep with its disk, and the log says why", async () => {
		const box = await create({
			file_mounts: { precious: "data" },
			launch_parameters: { launch_commands: ['test ! -e break || { echo "broken: $(cat break)"; exit 9; }'] },
		});
		await box.ssh.out("echo the reason >break");
		await box.suspend();
		const view = await box.resume();
		expect(view.status).toBe("suspended");
		expect((view.state_transitions ?? []).slice(-2).map(({ status }) => status)).toEqual(["resuming", "suspended"]);
		expect(await box.log()).toEqual(expect.arrayContaining(["broken: the reason", "exit 9"]));
	});
});

describe("the entrypoint", () => {
	test("runs as the user after the launch commands; its exit ends the box", async () => {
		const box = await create({
			environment_variables: { NAME: "value" },
			entrypoint:
				'echo "$(id -un) $(pwd) $NAME $(cat launched)"; while [ ! -e stop ]; do sleep 0.05; done; echo bye; exit 5',
			launch_parameters: { launch_commands: ["echo launched >launched"] },
		});
		await until("the entrypoint speaks", async () => (await box.log()).includes("user /home/user value launched"));
		await box.ssh.out("touch stop");
		expect(await box.awaitStatus("shutdown")).toMatchObject({
			shutdown_reason: "entrypoint_exit",
			failure_reason: null,
		});
		expect((await box.log()).slice(-2)).toEqual(["bye", "exit 5"]);
	});

	test("that is stopped by a suspend does not end the box, and begins again at the resume", async () => {
		const box = await create({ entrypoint: "echo begun >>begun; exec sleep infinity" });
		await until("it has begun", async () => (await box.ssh.run("test -e begun")).code === 0);
		await box.suspend();
		expect((await box.resume()).status).toBe("running");
		await until("it has begun again", async () => (await box.ssh.out("cat begun")) === "begun\nbegun");
	});
});

describe("suspend commands", () => {
	test("run before a suspend while everything still runs; a failing one stops nothing", async () => {
		const box = await create({
			launch_parameters: {
				launch_commands: ["sleep 4242 & echo $! >pid"],
				lifecycle: {
					lifecycle_hooks: {
						suspend_commands: [
							"kill -0 $(cat pid) && echo alive >saved; id -un >>saved",
							"echo oh no; exit 1",
							"echo third >>saved",
						],
					},
				},
			},
		});
		await box.suspend();
		expect(await box.log()).toEqual(expect.arrayContaining(["oh no", "exit 1"]));
		await box.resume();
		expect(await box.ssh.out("cat saved")).toBe("alive\nuser\nthird");
	});

	test("have a deadline", async () => {
		const box = await create({
			launch_parameters: {
				lifecycle: { lifecycle_hooks: { suspend_commands: ["echo began; sleep 600"], suspend_deadline_ms: 300 } },
			},
		});
		const began = Date.now();
		expect((await box.suspend()).status).toBe("suspended");
		expect(Date.now() - began).toBeLessThan(6000);
		expect(await box.log()).toContain("began");
	});
});

describe("limits", () => {
	test("of memory and processes hold, and the box outlives both", async () => {
		const { ssh } = await create({
			launch_parameters: { resource_size_request: "CUSTOM_SIZE", custom_cpu_cores: 1, custom_gb_memory: 0.125 },
		});
		// tail keeps a line without an end in memory.
		expect(await ssh.out("head -c 64M /dev/zero | tail | wc -c")).toBe(String(64 * 2 ** 20));
		expect((await ssh.run("head -c 400M /dev/zero | tail | wc -c")).stdout.toString().trim()).not.toBe(
			String(400 * 2 ** 20),
		);
		const forks = `my $n = 0; while ($n < 2000) { my $pid = fork; last unless defined $pid; unless ($pid) { sleep 60; exit } $n++ } print "$n\\n"; kill "KILL", -getpgrp`;
		const { stdout } = await ssh.run(`perl -e '$| = 1; ${forks}'`);
		expect(Number(String(stdout))).toBeGreaterThan(50);
		expect(Number(String(stdout))).toBeLessThan(512);
		expect(await ssh.out("echo alive")).toBe("alive");
	});

	test("an odd size is refused by name", async () => {
		const refused = daemon.sdk().api.devboxes.create({ launch_parameters: { custom_gb_memory: 4 } });
		await expect(refused).rejects.toMatchObject({ status: 400, message: expect.stringContaining("custom_gb_memory") });
	});
});

test("the host name is the devbox's label, and it resolves", async () => {
	const { id, ssh } = await create();
	const label = id.replace("_", "-");
	expect(await ssh.out("hostname; cat /proc/sys/kernel/hostname; getent hosts $(hostname) | tr -s ' '")).toBe(
		[label, label, `${await ssh.out("hostname -I | tr -d ' '")} ${label}`].join("\n"),
	);
	expect(await ssh.out("getent hosts localhost | tr -s ' ' | cut -d' ' -f2")).toBe("localhost");
});
