import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { specOf, TestBox, TestHost, tool } from "./box.fixture.js";
import { capabilities } from "./launcher-script.js";

describe("a box", () => {
	let host: TestHost;
	let box: TestBox;
	beforeAll(async () => {
		host = await TestHost.open();
		box = await host.box("dbx_a");
	});
	afterAll(() => host?.dispose());

	it("runs its init as root and PID 1 of a process tree of its own", async () => {
		expect(await box.ok("cat /proc/1/cmdline | tr '\\0' ' '; id -u")).toBe("/bin/sh /run/gangway/init 0\n");
		const processes = (await box.ok("ls /proc | grep -c '^[0-9]*$'")).trim();
		expect(Number(processes)).toBeLessThan(10);
	});

	it("has its own name, hosts and resolver", async () => {
		expect(await box.ok("hostname; cat /etc/hostname")).toBe("dbx-a\ndbx-a\n");
		expect(await box.ok("getent hosts dbx-a localhost")).toContain(box.address);
		expect(await box.ok("cat /etc/resolv.conf")).toMatch(/^nameserver \d/);
	});

	it("keeps exactly the capabilities of the list", async () => {
		const numbers: Record<(typeof capabilities)[number], number> = {
			chown: 0,
			dac_override: 1,
			fowner: 3,
			fsetid: 4,
			kill: 5,
			setgid: 6,
			setuid: 7,
			setpcap: 8,
			net_bind_service: 10,
			sys_chroot: 18,
			audit_write: 29,
		};
		const mask = capabilities.reduce((sum, name) => sum + 2 ** numbers[name], 0);
		const status = await box.ok("cat /proc/1/status /proc/self/status");
		for (const set of ["CapPrm", "CapEff", "CapBnd"])
			for (const [, value] of status.matchAll(new RegExp(`${set}:\\s+(\\w+)`, "g")))
				expect(Number.parseInt(value ?? "", 16), set).toBe(mask);
		for (const set of ["CapInh", "CapAmb"]) expect(status).toMatch(new RegExp(`${set}:\\s+0+\\n`));
	});

	it.each([
		["mount", "mount -t tmpfs tmpfs /mnt"],
		["unmount what hides the host", "umount /proc/sys || umount /etc || umount -l /"],
		["make a device", "mknod /tmp/disk b 254 0"],
		["make a device where devices are allowed", "mknod /dev/disk b 254 0"],
		["write kernel settings", "echo 1 > /proc/sys/kernel/sysrq || echo 0 > /proc/sys/vm/swappiness"],
		["trigger sysrq", "echo h > /proc/sysrq-trigger"],
		["read kernel memory", "head -c 1 /proc/kcore | grep -q . || head -c 1 /dev/mem"],
		["read the kernel's messages", "dmesg | grep -q . || timeout 1 head -c 1 /proc/kmsg | grep -q ."],
		["write to sysfs", "echo 1 > /sys/kernel/uevent_helper || touch /sys/kernel/x || mount -o remount,rw /sys"],
		["open a raw socket", "node -e 0; python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'"],
		["open a packet socket", "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)'"],
		[
			"change its network",
			"ip link set eth0 down || ip address add 192.0.2.77/32 dev eth0 || ip route add default dev lo",
		],
		["change its name", "hostname other || echo other > /proc/sys/kernel/hostname"],
		["load a module", "modprobe dummy || insmod /lib/modules/x.ko"],
		["set the clock", "date -s 2001-01-01"],
		["make namespaces as root", "unshare --mount true || unshare --net true || unshare --pid --fork true"],
		["reach its launcher's processes", "nsenter --target 1 --mount --pid true && kill -0 $(($$ + 100000))"],
		[
			"raise its limits",
			"mkdir /tmp/cg && mount -t cgroup -o memory none /tmp/cg || echo -1 > /sys/fs/cgroup/memory.max",
		],
		["reboot", 'node -e \'process.exit(require("fs").existsSync("/dev/initctl") ? 0 : 1)\''],
	])("cannot %s", async (_, command) => {
		expect((await box.sh(command)).code).not.toBe(0);
	});

	it("cannot leave its root by the chroot trick", async () => {
		const trick = `
			import os
			os.makedirs("/tmp/jail", exist_ok=True)
			top = os.open("/", os.O_RDONLY)
			os.chroot("/tmp/jail")
			os.fchdir(top)
			for _ in range(64): os.chdir("..")
			os.chroot(".")
			print(sorted(os.listdir("/")) == sorted(os.listdir(top)), os.path.exists("/disk"), os.path.exists("/work"))`;
		await box.ok(`cat > /tmp/escape.py <<'END'\n${trick.replace(/^\t+/gm, "").replace(/^\n/, "")}\nEND`);
		expect(await box.ok("python3 /tmp/escape.py")).toBe("True False False\n");
	});

	it("cannot lift what hides the host from inside a user namespace", async () => {
		const { stdout } = await box.sh(
			"unshare --user --map-root-user --mount --pid --fork sh -c 'umount /proc/keys; umount -l /proc/sys; umount -l /; mount -t proc proc /mnt; echo 1 > /proc/sys/kernel/sysrq && echo hurt; cat /proc/keys; ls /disk /host'",
		);
		expect(stdout).toBe("");
	});

	it("inherits no file of the daemon", async () => {
		const files = await box.ok("for pid in 1; do for fd in /proc/$pid/fd/*; do readlink $fd; done; done");
		expect(
			files
				.replace(/pipe:\[\d+\]/g, "pipe")
				.replace("/run/gangway/init", "init")
				.trim()
				.split("\n")
				.sort(),
		).toEqual(["/dev/null", "init", "pipe", "pipe"]);
		const environment = (await box.ok("tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1")).trim().split("\n");
		expect(environment.sort()).toEqual(["PATH", "PWD"]);
	});

	it("cannot shorten its own console", async () => {
		await box.sh("echo first > /proc/1/fd/1; echo second > /proc/1/fd/1");
		await expect.poll(() => box.output).toContain("agent listens\nfirst\nsecond\n");
	});

	it("changes owners, users and runs setuid programs", async () => {
		await box.ok("useradd -m -u 1000 user && echo 'user ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/user");
		expect(await box.ok("su user -c 'id -un; sudo -n id -un'")).toBe("user\nroot\n");
		expect(await box.ok("touch /tmp/f && chown user:user /tmp/f && stat -c %U /tmp/f")).toBe("user\n");
		expect((await box.sh("su nobody -s /bin/sh -c 'sudo -n id'")).code).not.toBe(0);
		expect(await box.ok("su user -c 'passwd -S' | cut -d' ' -f1")).toBe("user\n");
	});

	it("has the devices that programs expect", async () => {
		expect(await box.ok("echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c")).toBe(
			"3\n5\n",
		);
		expect(await box.ok("script -qec 'tty' /dev/null | tr -d '\\r'")).toMatch(/^\/dev\/pts\/0/);
		expect(await box.ok("echo a | cat /dev/stdin; stat -c %a /dev/shm /tmp /var/tmp")).toBe("a\n1777\n1777\n1777\n");
		expect(await box.ok("find /dev -type b -o -type c | sort | tr '\\n' ' '")).toBe(
			"/dev/full /dev/null /dev/pts/ptmx /dev/random /dev/tty /dev/urandom /dev/zero ",
		);
	});

	it("gives boot files to root alone, in a fresh /run", async () => {
		expect(await box.ok("stat -c '%a %U %n' /run/gangway /run/gangway/*")).toBe(
			"755 root /run/gangway\n600 root /run/gangway/agent.js\n700 root /run/gangway/init\n",
		);
		expect(await box.ok("stat -f -c %T /run")).toBe("tmpfs\n");
	});

	it("runs the daemon's node at a path that is always the same", async () => {
		expect(await box.ok("/opt/gangway/bin/node -p process.version")).toBe(`${process.version}\n`);
	});
});

describe("the host's files", () => {
	let host: TestHost;
	let box: TestBox;
	let marker: string;
	let outside: string;
	beforeAll(async () => {
		// A directory that exists on the host below / and that no list names.
		outside = await mkdtemp("/gangway-test-");
		marker = randomUUID();
		await writeFile(join(outside, "secret"), marker, { mode: 0o644 });
		await writeFile(`/tmp/${marker}`, marker);
		host = await TestHost.open();
		box = await host.box("dbx_b");
	});
	afterAll(async () => {
		await host?.dispose();
		await rm(outside, { recursive: true, force: true });
		await rm(`/tmp/${marker}`, { force: true });
	});

	it("are not in the box except what it may run", async () => {
		const roots = (await box.ok("ls -A /")).trim().split("\n");
		const expected =
			"bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var";
		expect(roots.filter((name) => !expected.split(" ").includes(name))).toEqual([]);
		expect(await box.ok("ls -A /root /home /srv /var/log/apt /var/backups | grep -v : | tr -d '\\n'")).toBe("");
		expect(await box.ok("ls -A /tmp /opt | tr '\\n' ' '")).toBe("/opt: gangway  /tmp: ");
		for (const path of [outside, host.dataDir, `/tmp/${marker}`])
			expect((await box.sh(`ls -d '${path}'`)).code, path).not.toBe(0);
	});

	it("that only root may read are not in its /etc", async () => {
		const shadow = await box.ok("cat /etc/shadow");
		expect(shadow).toMatch(/^root:\*:/);
		expect(shadow.split("\n").filter((line) => line && line.split(":")[1] !== "*")).toEqual([]);
		expect(await box.ok("find /etc -name 'ssh_host_*' -o -name '*-' -o -path '*/ssl/private/*'")).toBe("");
		// What root of the host alone may read has no counterpart but those that are made.
		const made = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers"];
		const closed = (await tool("find", "/etc", "-type", "f", "!", "-perm", "-004")).trim().split("\n");
		for (const path of closed.filter((name) => name && !made.includes(name)))
			expect((await box.sh(`test -e '${path}'`)).code, path).toBe(1);
	});

	it("have no account of a person", async () => {
		const users = (await box.ok("cut -d: -f1,3 /etc/passwd")).trim().split("\n");
		expect(users).toContain("root:0");
		expect(users.filter((line) => Number(line.split(":")[1]) >= 1000)).toEqual(["nobody:65534"]);
		expect(await readFile("/etc/passwd", "utf8")).toContain("root:"); // And the host's own is as it was.
	});

	it("stay as they are when the box writes to its copies", async () => {
		await box.ok(
			"echo changed > /etc/issue; rm -f /usr/bin/yes; mkdir /usr/local/x; mv /usr/share/doc /usr/share/papers",
		);
		expect(await box.ok("cat /etc/issue; ls -d /usr/share/papers")).toBe("changed\n/usr/share/papers\n");
		expect(await readFile("/etc/issue", "utf8")).not.toBe("changed\n");
		await expect(tool("ls", "/usr/bin/yes", "/usr/share/doc")).resolves.toContain("/usr/bin/yes");
		await expect(tool("ls", "/usr/local/x")).rejects.toThrow();
	});

	it("are no part of a start that a box has laid traps for", async () => {
		const spec = specOf("dbx_traps");
		await host.runtime.create(spec);
		const traps = new TestBox(host.runtime, spec);
		await traps.start();
		await traps.ok("cd /etc; rm -f hosts hostname resolv.conf; mkfifo hosts; mkdir -p hostname/x resolv.conf/x");
		await traps.stop();
		await traps.start();
		expect(await traps.ok("cat /etc/hostname; getent hosts dbx-traps; cat /etc/resolv.conf")).toContain(traps.address);
		await host.runtime.destroy("dbx_traps");
	});

	it("cannot be reached by links on a box's disk at its next start", async () => {
		const spec = specOf("dbx_links");
		await host.runtime.create(spec);
		const links = new TestBox(host.runtime, spec);
		await links.start();
		const victim = join(outside, "victim");
		await mkdir(victim);
		await links.ok(
			`rm -f /etc/hosts /etc/hostname /etc/resolv.conf; ln -s '${victim}/hosts' /etc/hosts; ln -s '${victim}/h' /etc/hostname`,
		);
		await links.ok(
			`ln -s '${victim}/r' /etc/resolv.conf; mv /var /old; ln -s '${victim}' /var; mv /opt /oldopt; ln -s '${victim}' /opt`,
		);
		await links.stop();
		await host.runtime.start(spec, { files: [{ path: "init", mode: 0o700, content: "cat /etc/hosts; ls -la /var/" }] });
		await host.runtime.attach("dbx_links", 0, () => {}).exited;
		expect(await tool("ls", "-A", victim)).toBe("");
		await host.runtime.destroy("dbx_links");
	});
});
