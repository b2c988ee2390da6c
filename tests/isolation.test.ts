/** Two devboxes at once, and the host: each has its own files, processes and network, and root in one is not root of another. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { Conversation, type SshClient } from "./support/ssh.js";

let daemon: Daemon;
let a: Box;
let b: Box;
beforeAll(async () => {
	// Listens on all addresses, so that a box can reach its ports: the exception to what follows.
	daemon = await Daemon.start({ env: { GANGWAY_BIND: "0.0.0.0", GANGWAY_ALLOW_TRUSTED_RUNTIME: "true" } });
	[a, b] = await Promise.all([
		Box.create(daemon, { environment_variables: { SECRET_OF_A: "sesame" } }),
		Box.create(daemon, { launch_parameters: { user_parameters: { username: "root", uid: 0 } } }),
	]);
});
afterAll(() => daemon?.remove());

/** Connects from inside a box to each `host port`, all at once, and says which let it in. No answer within a second is none. */
async function reachable(box: Box, ...targets: string[]): Promise<string[]> {
	const script = `for (const target of ${JSON.stringify(targets)}) {
		const [host, port] = target.split(" ");
		const socket = require("net").connect({ host, port, timeout: 1000 }, () => { console.log(target); socket.destroy(); });
		socket.on("error", () => {}).on("timeout", () => socket.destroy());
	}`;
	const found = await box.ssh.out("node -", script);
	return found === "" ? [] : found.split("\n").sort();
}

/** A server in a box on all its addresses. */
async function serve(box: Box, port: number): Promise<void> {
	const script = `require("net").createServer((socket) => socket.end()).listen(${port}, () => console.log("listening"))`;
	const server = new Conversation(box.ssh.spawn([`node -e '${script}'`], ["-tt"]));
	onTestFinished(() => server.kill());
	await server.sees(/listening/);
}

function hostAddresses(): string[] {
	return Object.values(networkInterfaces()).flatMap((list) =>
		(list ?? []).filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address),
	);
}

describe("between boxes", () => {
	test("files are each box's own, also where the host's are below", async () => {
		await a.ssh.out(
			"echo a >~/file; sudo -n sh -c 'echo a >/etc/of-a; echo a >/usr/of-a; echo a >/tmp/of-a; rm /usr/bin/git'",
		);
		expect(await b.ssh.out("ls -d /home/* /etc/of-a /usr/of-a /tmp/of-a 2>/dev/null; command -v git")).toBe(
			"/usr/bin/git",
		);
		expect(readFileSync("/usr/bin/git").length).toBeGreaterThan(0);
	});

	test("processes are each box's own", async () => {
		const sleeper = new Conversation(a.ssh.spawn(["sleep 31337"], ["-tt"]));
		onTestFinished(() => sleeper.kill());
		const seen = "ps -eo args= | grep -c '[s]leep 31337'; cat /proc/[0-9]*/environ 2>/dev/null | grep -c sesame";
		// Both greps find nothing: exit code 1.
		expect(String((await b.ssh.run(seen)).stdout)).toBe("0\n0\n");
		expect(Number(await b.ssh.out("ps -e | wc -l"))).toBeLessThan(30);
	});

	test("shared memory and System V IPC are each box's own", async () => {
		await a.ssh.out("echo a >/dev/shm/of-a; ipcmk -S 1 -p 644 >/dev/null");
		expect(await a.ssh.out("ipcs -s | grep -c 0x")).toBe("1");
		expect(String((await b.ssh.run("ls /dev/shm; ipcs -s | grep -c 0x")).stdout)).toBe("0\n");
	});

	test("a box reaches itself but not another, on any port", async () => {
		await serve(b, 8000);
		const address = await b.address();
		expect(address).not.toBe(await a.address());
		const own = [`${address} 22`, `${address} 8000`, "localhost 8000"];
		expect(await Promise.all([reachable(b, ...own), reachable(a, ...own)])).toEqual([own, []]);
	});
});

describe("towards the host", () => {
	test("its addresses are out of reach, but for the edge's ports", async () => {
		const server = createServer((socket) => socket.end()).listen(0, "0.0.0.0");
		onTestFinished(() => void server.close());
		await new Promise((resolve) => server.once("listening", resolve));
		const { port } = server.address() as { port: number };
		const gateway = await a.ssh.out("ip route show default | cut -d' ' -f3");
		const { tls_port, http_port } = daemon.endpoints;
		const addresses = [...new Set([gateway, ...hostAddresses()])];
		expect(await reachable(a, ...addresses.flatMap((address) => [`${address} ${port}`, `${address} 22`]))).toEqual([]);
		const edge = [`${gateway} ${tls_port}`, `${gateway} ${http_port}`].sort();
		expect(await reachable(a, ...edge)).toEqual(edge);
	});

	test("link-local addresses, where clouds hand out credentials, are out of reach", async () => {
		expect(await reachable(a, "169.254.169.254 80", "169.254.170.2 80", "fe80::1%eth0 80")).toEqual([]);
	});

	test("packets with another's source address do not leave", async () => {
		const spoof = `require("net").connect({ host: "${await a.ssh.out("ip route show default | cut -d' ' -f3")}", port: ${daemon.endpoints.http_port}, localAddress: "${await b.address()}" })
			.on("error", (error) => { console.log(error.code); process.exit(); }).on("connect", () => { console.log("connected"); process.exit(); })`;
		expect(await a.ssh.out("sudo -n node -", spoof)).toBe("EADDRNOTAVAIL");
		expect((await a.ssh.run("sudo -n ip addr add 10.0.0.1/32 dev eth0")).code).not.toBe(0);
	});

	test("its secrets are not there", async () => {
		const shadow = readFileSync("/etc/shadow", "utf8");
		const hashes = [...shadow.matchAll(/^[^:]+:(\$[^:]+):/gm)].map(([, hash]) => hash!);
		const inBox = await a.ssh.out("sudo -n cat /etc/shadow");
		for (const hash of hashes) expect(inBox).not.toContain(hash);
		expect(await a.ssh.out("sudo -n find /root -mindepth 1")).toBe("");
		expect(await a.ssh.out("sudo -n find /etc/ssh -name 'ssh_host_*'")).toBe("");
		expect((await a.ssh.run(`sudo -n ls ${daemon.dataDir}`)).code).toBe(2);
		expect(await a.ssh.out("ls -A /tmp /var/log /var/tmp /srv /mnt | grep -v : || true")).not.toContain("gangway");
		// Neither in the environment of a process, nor below what is mounted.
		expect((await a.ssh.run("sudo -n sh -c 'cat /proc/1/environ' | grep -aE 'GANGWAY|gw_test'")).code).toBe(1);
	});

	test("its processes are not there", async () => {
		expect(await a.ssh.out("ps -eo args=")).not.toMatch(/vitest|cli\/dist/);
		expect(await a.ssh.out("cat /proc/1/comm; hostname")).toBe(`sh\n${a.id.replace("_", "-")}`);
	});
});

describe("root in a box", () => {
	/** One connection for all of them. */
	let root: SshClient;
	beforeAll(() => {
		const ControlPath = join(b.ssh.directory, "mux");
		root = b.ssh.with({ ControlMaster: "auto", ControlPath, ControlPersist: "60" });
	});
	afterAll(() => root?.tool("ssh", ["-O", "exit", root.target]));

	/** [what, command that must fail] */
	const attempts: [string, string][] = [
		["mount a file system", "mount -t tmpfs none /mnt"],
		["bind a directory", "mount --bind /etc /mnt"],
		["make /proc writable", "mount -o remount,rw /proc/sys"],
		["unmount what protects it", "umount /proc/sys"],
		["make a device", "mknod /tmp/disk b 8 0"],
		["make a character device", "mknod /tmp/mem c 1 1"],
		["write to /proc/sys", "sh -c 'echo 1 >/proc/sys/kernel/sysrq'"],
		["write to /proc/sys/net", "sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'"],
		["trigger sysrq", "sh -c 'echo h >/proc/sysrq-trigger'"],
		["write to /sys", "sh -c 'echo 1 >/sys/kernel/uevent_helper'"],
		["change its cgroup", "sh -c 'mkdir /sys/fs/cgroup/x'"],
		["read the kernel's log", "dmesg"],
		["change the host name", "hostname other"],
		["change the network", "ip link set eth0 down"],
		["add a route", "ip route add 192.0.2.0/24 dev lo"],
		["change the firewall", "nft add table inet mine"],
		["make namespaces to be root of", "unshare --user --map-root-user true"],
		["make a mount namespace", "unshare --mount true"],
		["enter the daemon's or anyone's namespace", "nsenter --target 1 --mount true"],
		["set the clock", "date -s @0"],
		["raise its limits", "bash -c 'prlimit --nofile=$(($(ulimit -Hn) + 1)):$(($(ulimit -Hn) + 1)) true'"],
		[
			"look into another user's process",
			`bash -c 'setpriv --reuid=33 --regid=33 --clear-groups sleep 600 >/dev/null 2>&1 & until [ $(</proc/$!/comm) = sleep ]; do :; done; cat /proc/$!/environ'`,
		],
		["lower its niceness", "sh -c 'nice -n -5 sh -c \"[ $(nice) -lt 0 ]\"'"],
	];
	test.each(attempts)("cannot %s", async (_, command) => {
		const { code, stderr, stdout } = await root.run(command);
		expect({ failed: code !== 0 && code !== 255, missing: code === 127, stdout: String(stdout), stderr }).toMatchObject(
			{
				failed: true,
				missing: false,
			},
		);
	});

	test("cannot open a raw or a packet socket", async () => {
		const perl = (arguments_: string) => `perl -MSocket -e 'socket(S, ${arguments_}) and print "opened"; print $!'`;
		expect(await root.out(perl("PF_INET, SOCK_RAW, 1"))).toBe("Operation not permitted");
		expect(await root.out(perl("17, SOCK_RAW, 768"))).toBe("Operation not permitted");
	});

	test("has the capabilities that packages need and no others", async () => {
		expect(await root.out("grep -E '^Cap(Bnd|Eff):' /proc/self/status | cut -f2 | sort -u")).toBe("00000000200405fb");
	});

	test("owns everything that a package needs to own", async () => {
		expect(
			await root.out(
				"touch /usr/x && chown 33:33 /usr/x && chmod 4755 /usr/x && stat -c '%u %a' /usr/x && rm /usr/x && touch /boot/x /opt/x /etc/x && mkfifo /tmp/fifo && echo fine",
			),
		).toBe("33 4755\nfine");
	});
});
