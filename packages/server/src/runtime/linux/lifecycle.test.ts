import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RuntimeError } from "../../errors.js";
import { agentBoot, askAgent, initPid, specOf, TestBox, TestHost, tool } from "./box.fixture.js";

function scriptBoot(init: string) {
	return { files: [{ path: "init", mode: 0o700, content: init }] };
}

describe("the life of a box", () => {
	let host: TestHost;
	beforeEach(async () => {
		host = await TestHost.open();
	});
	afterEach(() => host.dispose());

	it("goes from absent over stopped and running back to absent", async () => {
		const { runtime } = host;
		const spec = specOf("dbx_a");
		expect(await runtime.inspect("dbx_a")).toEqual({ kind: "absent" });
		await runtime.create(spec);
		await runtime.create(spec);
		expect(await runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
		expect(await runtime.list()).toEqual(["dbx_a"]);
		const { address } = await runtime.start(spec, agentBoot);
		expect(await runtime.inspect("dbx_a")).toEqual({ kind: "running", address });
		await expect(runtime.start(spec, agentBoot)).rejects.toMatchObject({ code: "already_running" });
		await runtime.stop("dbx_a", { graceMs: 0 });
		await runtime.stop("dbx_a", { graceMs: 0 });
		expect(await runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
		await runtime.destroy("dbx_a");
		await runtime.destroy("dbx_a");
		expect(await runtime.inspect("dbx_a")).toEqual({ kind: "absent" });
		expect(await runtime.list()).toEqual([]);
	});

	it("refuses what it does not know, and names that lead elsewhere", async () => {
		await expect(host.runtime.start(specOf("dbx_a"), agentBoot)).rejects.toMatchObject({ code: "not_created" });
		await expect(host.runtime.create(specOf("../dbx_a"))).rejects.toThrow(RuntimeError);
		await host.runtime.destroy("..");
		await host.runtime.destroy("../linux");
		expect(await host.tag()).toMatch(/^\w{4}$/);
		await host.runtime.create(specOf("dbx_a"));
		const boot = { files: [...agentBoot.files, { path: "../../etc/passwd", mode: 0o600, content: "" }] };
		await expect(host.runtime.start(specOf("dbx_a"), boot)).rejects.toThrow(RuntimeError);
	});

	it("asks the box to end before it kills it", async () => {
		const spec = specOf("dbx_a");
		await host.runtime.create(spec);
		const polite = scriptBoot("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 100 & wait; done");
		await host.runtime.start(spec, polite);
		const first = await follow(host, 0, "up");
		await host.runtime.stop("dbx_a", { graceMs: 10_000 });
		expect(await first.exited).toEqual({ outOfMemory: false });
		expect(first.text()).toBe("up\nbye\n");
		await host.runtime.start(spec, scriptBoot("trap '' TERM; echo stubborn; sleep 1000 & wait"));
		const second = await follow(host, first.offset(), "stubborn");
		await host.runtime.stop("dbx_a", { graceMs: 50 });
		await second.exited;
		expect(second.text()).toBe("stubborn\n");
	});

	it("delivers the last byte of a box that ends by itself", async () => {
		await host.runtime.create(specOf("dbx_a"));
		await host.runtime.start(specOf("dbx_a"), scriptBoot("head -c 3000000 /dev/zero | tr '\\0' x; printf end"));
		let size = 0;
		let end = 0;
		let tail = "";
		const attachment = host.runtime.attach("dbx_a", 0, (chunk, offset) => {
			size += chunk.length;
			end = offset;
			tail = chunk.subarray(-3).toString();
		});
		await attachment.exited;
		expect([size, end, tail]).toEqual([3_000_003, 3_000_003, "end"]);
		await expect.poll(() => host.runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
	});

	it("tells why a box could not start, and leaves nothing of it", async () => {
		const spec = specOf("dbx_a");
		await host.runtime.create(spec);
		const root = join(host.dataDir, "devboxes", "dbx_a", "disk", "root");
		await rm(join(root, "proc"), { recursive: true });
		await symlink("/tmp", join(root, "proc"));
		const before = await host.traces();
		const error = await host.runtime.start(spec, agentBoot).catch((thrown: unknown) => thrown);
		expect(error).toBeInstanceOf(RuntimeError);
		expect((error as RuntimeError).message).not.toContain("/proc");
		expect(String((error as RuntimeError).cause)).toContain("/proc is not a directory");
		expect(await host.traces()).toEqual(before);
		expect(await host.runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
	});

	it("keeps the disk over a stop, packages included", async () => {
		const box = await host.box("dbx_a");
		await box.ok(
			"echo kept > /root/file; echo kept > /etc/own.conf; mkdir -p /data; echo kept > /data/x; rm /etc/issue",
		);
		await box.ok(`mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin && cd /tmp && cat > p/DEBIAN/control <<'END'
Package: gangway-probe
Version: 1.0
Architecture: all
Maintainer: Gangway <root@localhost>
Description: a probe
END
printf '#!/bin/sh\\necho probed\\n' > p/usr/bin/gangway-probe && chmod 755 p/usr/bin/gangway-probe
dpkg-deb --root-owner-group --build p probe.deb && dpkg -i probe.deb`);
		await box.stop();
		await box.start();
		expect(
			await box.ok("cat /root/file /etc/own.conf /data/x; gangway-probe; ls /etc/issue 2>/dev/null || echo gone"),
		).toBe("kept\nkept\nkept\nprobed\ngone\n");
		expect(await box.ok("dpkg-query -W gangway-probe; dpkg --audit; apt-get check -qq")).toBe("gangway-probe\t1.0\n");
		await expect(tool("dpkg-query", "-W", "gangway-probe")).rejects.toThrow();
		await box.ok("dpkg -r gangway-probe");
	});

	it("leaves nothing behind, and gives everything back when the runtime closes", async () => {
		const box = await host.box("dbx_a");
		await box.ok("setsid sh -c 'trap \"\" TERM HUP; sleep 1000' > /dev/null 2>&1 &");
		const pid = await initPid(host, "dbx_a");
		const group = (await tool("cat", `/proc/${pid}/cgroup`)).match(/\/gangway-\w+\/dbx_a/)?.[0];
		expect(group).toBeDefined();
		await host.runtime.destroy("dbx_a");
		const names = (await host.traces()).filter((line) => line.includes("dbx_a") || /\bgw[a-z0-9]{4}-\d/.test(line));
		expect(names).toEqual([]);
		expect(await readdir(join(host.dataDir, "devboxes"))).toEqual([]);
		expect(await tool("pgrep", "-f", `${host.dataDir}/devboxes`).catch(() => "")).toBe("");
		expect((await host.traces()).length).toBeGreaterThan(0);
		await host.runtime.close();
		expect(await host.traces()).toEqual([]);
		await host.runtime.close();
		await expect(host.runtime.list()).rejects.toMatchObject({ code: "failed" });
	});

	it("is bounded in memory, and says when the kernel had to kill", async () => {
		const box = await host.box("dbx_a", { memoryBytes: 128 * 1024 * 1024 });
		const eater = await box.sh("node -e 'const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))'");
		expect(eater.code).not.toBe(0);
		await host.runtime.stop("dbx_a", { graceMs: 0 });
		expect(await box.attachment?.exited).toEqual({ outOfMemory: true });
		await box.start();
		await host.runtime.stop("dbx_a", { graceMs: 0 });
		expect(await box.attachment?.exited).toEqual({ outOfMemory: false });
	});

	it("is bounded in processes and CPU", async () => {
		const box = await host.box("dbx_a", { maxProcesses: 40, cpus: 0.5 });
		const { stderr } = await box.sh("for i in $(seq 100); do sleep 0.5 & done");
		expect(stderr).toMatch(/fork|Resource temporarily unavailable/i);
		const pid = await initPid(host, "dbx_a");
		const group = (await tool("cat", `/proc/${pid}/cgroup`)).match(/\/gangway-\w+\/dbx_a/)?.[0];
		const limits = await tool(
			"sh",
			"-c",
			`cat /sys/fs/cgroup/cpu*${group}/cpu.cfs_quota_us /sys/fs/cgroup${group}/cpu.max 2>/dev/null; true`,
		);
		expect(limits).toMatch(/^50000/);
	});

	it("gives groups and network back also when nothing can be noted, as on a full disk", async () => {
		const box = await host.box("dbx_full");
		const note = join(host.dataDir, "devboxes", "dbx_full", "run.json");
		await rm(note);
		await mkdir(join(note, "in the way"), { recursive: true });
		await box.stop();
		expect(host.warnings).toHaveLength(1);
		expect(await tool("find", "/sys/fs/cgroup", "-name", "dbx_full")).toBe("");
		expect((await host.traces()).filter((line) => /\bgw[a-z0-9]{4}-\d/.test(line))).toEqual([]);
		await host.runtime.destroy("dbx_full");
	});

	it("shows the console of a start whose console.log somebody has removed", async () => {
		const box = await host.box("dbx_console");
		await box.stop();
		await rm(join(host.dataDir, "devboxes", "dbx_console", "console.log"));
		const again = new TestBox(host.runtime, box.spec);
		await again.start();
		expect(again.output).toContain("agent listens");
		await host.runtime.destroy("dbx_console");
	});

	it("gives delivered output back to the disk", async () => {
		await host.dispose();
		host = await TestHost.open({ consoleKeepBytes: 64 * 1024 });
		const box = await host.box("dbx_a");
		await box.ok("head -c 1000000 /dev/zero | tr '\\0' y > /proc/1/fd/1");
		const file = join(host.dataDir, "devboxes", "dbx_a", "console.log");
		await expect.poll(async () => Number(await tool("stat", "-c", "%b", file)) * 512).toBeLessThan(128 * 1024);
		await box.ok("echo after > /proc/1/fd/1");
		await expect.poll(() => box.output.endsWith("after\n")).toBe(true);
		let late = "";
		host.runtime.attach("dbx_a", 0, (chunk) => {
			late += chunk;
		});
		await expect.poll(() => late).toContain("after\n");
		expect(late).not.toContain("\0");
	});
});

describe("after a crash of the daemon", () => {
	let compiled: string;
	let host: TestHost;
	let daemon: ChildProcess;
	beforeAll(async () => {
		compiled = await compile();
	});
	afterAll(() => rm(compiled, { recursive: true, force: true }));
	beforeEach(async () => {
		host = await TestHost.open();
		await host.runtime.close();
	});
	afterEach(async () => {
		daemon?.kill("SIGKILL");
		await host.dispose();
	});

	it("adopts the boxes that run", async () => {
		const { address } = await daemonStarts("dbx_a");
		await killed();
		// Isolation holds while nobody is there.
		expect((await host.traces()).some((line) => line.startsWith("table inet gangway_"))).toBe(true);
		expect((await askAgent(address, "echo alone > /proc/1/fd/1")).code).toBe(0);
		await host.reopen();
		expect(await host.runtime.inspect("dbx_a")).toEqual({ kind: "running", address });
		const attached = await follow(host, 0, "alone");
		await askAgent(address, "echo again > /proc/1/fd/1; kill -TERM 1").catch(() => {}); // The agent ends with its box.
		expect(await attached.exited).toEqual({ outOfMemory: false });
		expect(attached.text()).toBe("agent listens\nalone\nagain\n");
		expect(await host.runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
	});

	it("stops an adopted box, and starts it again", async () => {
		const { address } = await daemonStarts("dbx_a");
		await killed();
		await host.reopen();
		await host.runtime.stop("dbx_a", { graceMs: 5_000 });
		expect(await host.runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
		expect(await host.runtime.start(specOf("dbx_a"), agentBoot)).toEqual({ address });
	});

	it("runs a node that is not below /usr", async () => {
		const node = join(compiled, "node");
		await copyFile(process.execPath, node, constants.COPYFILE_FICLONE);
		const { address } = await daemonStarts("dbx_a", node);
		const { stdout } = await askAgent(
			address,
			`/opt/gangway/bin/node -p 1+1; ls '${compiled}'; echo x >> /run/gangway-node`,
		);
		expect(stdout).toBe("2\n");
		expect((await tool(node, "-p", "2+2")).trim()).toBe("4");
	});

	it("moves away from a network that has appeared where its own was", async () => {
		const before =
			(await tool("cat", join(host.dataDir, "linux", "network.json"))).match(/"block":"([^"]+)"/)?.[1] ?? "";
		await tool("ip", "route", "add", "blackhole", before.replace("/20", "/32"));
		try {
			await host.reopen();
			expect(await tool("cat", join(host.dataDir, "linux", "network.json"))).not.toContain(before);
		} finally {
			await tool("ip", "route", "delete", "blackhole", before.replace("/20", "/32"));
		}
	});

	it("is not deceived by a process id that was used again, nor by a boot that is over", async () => {
		await host.reopen();
		await host.runtime.create(specOf("dbx_pid"));
		await host.runtime.create(specOf("dbx_boot"));
		await host.runtime.close();
		const me = { pid: process.pid, startTime: "1" };
		const bootId = (await tool("cat", "/proc/sys/kernel/random/boot_id")).trim();
		const stat = await tool("cat", `/proc/${process.pid}/stat`);
		const real = { pid: process.pid, startTime: stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] };
		const put = (id: string, content: object) =>
			writeFile(join(host.dataDir, "devboxes", id, "run.json"), JSON.stringify(content));
		await put("dbx_pid", { kind: "running", bootId, processes: { init: me, launcher: me } });
		await put("dbx_boot", { kind: "running", bootId: "earlier", processes: { init: real, launcher: real } });
		await host.reopen();
		expect(await host.runtime.inspect("dbx_pid")).toEqual({ kind: "stopped" });
		expect(await host.runtime.inspect("dbx_boot")).toEqual({ kind: "stopped" });
	});

	it("cleans what was half done, and keeps every disk", async () => {
		await daemonStarts("dbx_a");
		await killed();
		const devboxes = join(host.dataDir, "devboxes");
		// As if the daemon had died before it noted the process, between two steps of a creation, and in a removal.
		await rm(join(devboxes, "dbx_a", "run.json"));
		await mkdir(join(devboxes, ".new-dbx_b-00", "disk"), { recursive: true });
		await mkdir(join(devboxes, ".trash-dbx_c-00", "disk"), { recursive: true });
		// A disk whose box.json is gone, and what a file system has at its top.
		await mkdir(join(devboxes, "dbx_d", "disk"), { recursive: true });
		await mkdir(join(devboxes, "lost+found"));
		await writeFile(join(host.dataDir, "linux", "network.json.0.tmp"), "");
		const tag = await host.tag();
		await tool("ip", "link", "add", `gw${tag}-77`, "type", "veth", "peer", "name", `gw${tag}-78`);
		await tool("nft", "delete", "table", "inet", `gangway_${tag}`);
		await host.reopen();
		expect(await host.runtime.list()).toEqual(["dbx_a"]);
		expect(await host.runtime.inspect("dbx_a")).toEqual({ kind: "stopped" });
		expect((await readdir(devboxes)).sort()).toEqual(["dbx_a", "dbx_d", "lost+found"]);
		expect(host.warnings).toHaveLength(2);
		const traces = await host.traces();
		expect(traces.filter((line) => line.includes("dbx_a") || /\bgw[a-z0-9]{4}-\d/.test(line))).toEqual([]);
		expect(traces.filter((line) => line.startsWith("table"))).toHaveLength(1);
		await host.runtime.start(specOf("dbx_a"), agentBoot);
	});

	it("lets no link take the place of a layer below another, over the programs of the next start", async () => {
		// The host's own mounts below /usr, in a namespace of the test's own.
		const mounts = "mount -t tmpfs a /usr/src && mkdir -p /usr/src/sub/own && mount -t tmpfs b /usr/src/sub/own";
		const command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", `${mounts} && exec "$0" "$@"`];
		const { address } = await daemonStarts("dbx_a", ...command, process.execPath);
		const plant = "for name in grep ip nsenter rm tar; do cp /bin/false /usr/src/sub/own/$name; done";
		const link = "mv /usr/src/sub /usr/src/moved && mkdir /usr/src/sub && ln -s /usr/bin /usr/src/sub/own";
		expect(await askAgent(address, `${plant} && ${link} && echo linked`)).toMatchObject({ stdout: "linked\n" });
		await killed();
		await daemonStarts("dbx_a", ...command, process.execPath);
		const read = () => askAgent(address, "readlink /usr/src/sub/own").catch(() => undefined);
		await expect.poll(read, { timeout: 10_000 }).toMatchObject({ stdout: "/usr/bin\n" });
		await killed();
		await host.reopen();
	});

	/** Starts a box, anew when it runs, in a process of its own that can be killed. */
	async function daemonStarts(id: string, ...command: string[]): Promise<{ address: string }> {
		const [first = process.execPath, ...rest] = command;
		const program = `
			import { LinuxRuntime } from "${join(compiled, "runtime/linux/index.js")}";
			const [dataDir, spec, boot] = JSON.parse(process.argv[1]);
			const runtime = new LinuxRuntime({ dataDir });
			await runtime.open();
			await runtime.create(spec);
			await runtime.stop(spec.id, { graceMs: 0 });
			const started = await runtime.start(spec, boot);
			runtime.attach(spec.id, 0, (chunk) => {
				if (String(chunk).includes("agent listens")) console.log(JSON.stringify(started));
			});`;
		const input = JSON.stringify([host.dataDir, specOf(id), agentBoot]);
		daemon = spawn(first, [...rest, "--input-type=module", "--eval", program, "--", input], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		return await new Promise((resolve, reject) => {
			daemon.stdout?.once("data", (line) => resolve(JSON.parse(String(line))));
			daemon.once("exit", (code) => reject(new Error(`the daemon ended: ${code}`)));
		});
	}

	async function killed(): Promise<void> {
		daemon.removeAllListeners("exit");
		await new Promise((resolve) => daemon.once("exit", resolve).kill("SIGKILL"));
	}
});

/** Attaches and resolves when the console shows `mark`. */
async function follow(host: TestHost, from: number, mark: string) {
	let output = "";
	let last = from;
	return await new Promise<{ text(): string; offset(): number; exited: Promise<unknown> }>((resolve) => {
		const { exited } = host.runtime.attach("dbx_a", from, (chunk, end) => {
			output += chunk;
			last = end;
			if (output.includes(mark)) resolve({ text: () => output, offset: () => last, exited });
		});
	});
}

/** The runtime as JavaScript: a process that can be killed has to run it outside of vitest. */
async function compile(): Promise<string> {
	const source = join(dirname(fileURLToPath(import.meta.url)), "../..");
	const repository = join(source, "../../..");
	const target = await mkdtemp(join(tmpdir(), "gangway-compiled-"));
	const options = "--module nodenext --target es2023 --types node --skipLibCheck --ignoreConfig".split(" ");
	await tool(
		process.execPath,
		join(repository, "node_modules/typescript/bin/tsc"),
		...options,
		"--rootDir",
		source,
		"--outDir",
		target,
		join(source, "runtime/linux/index.ts"),
	);
	await writeFile(join(target, "package.json"), '{"type":"module"}');
	await symlink(join(repository, "node_modules"), join(target, "node_modules"));
	return target;
}
