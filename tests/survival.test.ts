/** What a devbox keeps through a suspend, a restart of the daemon and its crash. */
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { Conversation, collect } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let box: Box;
let key: unknown;
let sleeping: Box;
beforeAll(async () => {
	daemon = await Daemon.start();
	[box, sleeping] = await Promise.all([
		Box.create(daemon, { launch_parameters: { launch_commands: ["sleep 4242 & echo $! >~/pid"] } }),
		Box.create(daemon),
	]);
	key = await daemon.sdk().api.devboxes.createSSHKey(box.id);
	await install();
	await sleeping.ssh.out("echo kept >~/file");
	await sleeping.suspend();
});
afterAll(() => daemon?.remove());

/** A file of the user's and a package, made the way a user would. */
async function install() {
	const root = join(box.ssh.directory, "deb");
	await mkdir(join(root, "DEBIAN"), { recursive: true });
	await mkdir(join(root, "usr/bin"), { recursive: true });
	const control = [
		"Package: gw-hello",
		"Version: 1.2",
		"Architecture: all",
		"Maintainer: t <t@example.org>",
		"Description: hello",
	];
	await writeFile(join(root, "DEBIAN/control"), `${control.join("\n")}\n`);
	await writeFile(join(root, "DEBIAN/postinst"), "#!/bin/sh\necho configured >/etc/gw-hello.conf\n", { mode: 0o755 });
	await writeFile(join(root, "usr/bin/gw-hello"), "#!/bin/sh\necho hello\n", { mode: 0o755 });
	const deb = join(box.ssh.directory, "gw-hello.deb");
	expect(await collect(spawn("dpkg-deb", ["--root-owner-group", "-b", root, deb]))).toMatchObject({ code: 0 });
	expect(await box.ssh.tool("scp", [deb, `${box.ssh.target}:`])).toMatchObject({ code: 0 });
	await box.ssh.out(
		"sudo -n dpkg -i gw-hello.deb && echo mine >~/file && sudo -n ln -s /home/user/file /etc/link && sync",
	);
}

/** The key still opens it, and the disk is as it was. */
async function expectKept() {
	expect(await daemon.sdk().api.devboxes.createSSHKey(box.id)).toEqual(key);
	expect(await box.ssh.out("cat ~/file /etc/link; gw-hello; cat /etc/gw-hello.conf; dpkg-query -W gw-hello")).toBe(
		["mine", "mine", "hello", "configured", "gw-hello\t1.2"].join("\n"),
	);
}

/** What another box with the same programs would not have: when PID 1 and the launched program began. */
const identity = () =>
	box.ssh.out(
		"cut -d' ' -f22 /proc/1/stat; pid=$(cat ~/pid); echo $pid; cut -d' ' -f2,22 /proc/$pid/stat; hostname -I",
	);

test("key and disk survive suspend and resume; processes do not", async () => {
	const before = await identity();
	expect((await box.suspend()).status).toBe("suspended");
	expect((await box.ssh.run("true")).code).toBe(255);
	expect(await daemon.sdk().api.devboxes.createSSHKey(box.id)).toEqual(key);
	expect((await box.resume()).status).toBe("running");
	await expectKept();
	expect(await identity()).not.toBe(before);
	await box.ssh.out("dpkg -s gw-hello >/dev/null; sudo -n dpkg --configure -a; sudo -n dpkg -i gw-hello.deb");
});

describe.each([
	["a restart (SIGTERM)", () => daemon.stop()],
	["a crash (SIGKILL)", () => daemon.kill()],
])("%s of the daemon", (_, end) => {
	test("leaves running boxes as they are, and their processes", async () => {
		const before = await identity();
		await end();
		await daemon.start();
		expect((await box.view()).status).toBe("running");
		expect(await identity()).toBe(before);
		await expectKept();
	});

	test("leaves suspended boxes asleep with their disk", async () => {
		expect((await sleeping.view()).status).toBe("suspended");
		expect((await sleeping.resume()).status).toBe("running");
		expect(await sleeping.ssh.out("cat ~/file")).toBe("kept");
		await sleeping.suspend();
	});

	test("does not take from the daemon what a running box does next", async () => {
		await box.ssh.out("echo more >~/more");
		await box.suspend();
		await box.resume();
		await expectKept();
		expect(await box.ssh.out("cat ~/more")).toBe("more");
	});
});

test("a SIGTERM lets an open session finish what it does, for the time that is set", async () => {
	const patient = await Daemon.start({ env: { GANGWAY_DRAIN_TIMEOUT: "20" } });
	onTestFinished(() => patient.remove());
	const { ssh } = await Box.create(patient);
	const session = new Conversation(ssh.spawn(["echo open; cat"]));
	onTestFinished(() => session.kill());
	await session.sees(/^open$/m);
	const stopped = patient.stop();
	// New ones are turned away while the open one goes on.
	await until("the daemon accepts nobody", async () => (await ssh.run("true")).code === 255);
	session.say("the last words\n");
	await session.sees(/the last words/);
	expect(await session.hangUp()).toBe(0);
	expect(await stopped).toBe(0);
});

test("boxes that were being made or ended during a crash come to a proper end", async () => {
	const { devboxes } = daemon.sdk().api;
	const [starting, suspending, ending] = await Promise.all([
		devboxes.create({
			launch_parameters: { launch_commands: ["until [ -e /tmp/go ]; do sleep 0.05; done; echo done >~/launched"] },
		}),
		Box.create(daemon, {
			launch_parameters: { lifecycle: { lifecycle_hooks: { suspend_commands: ["echo hook >>~/hook; sleep 1"] } } },
		}),
		Box.create(daemon),
	]);
	await until("the launch command runs", async () => (await devboxes.retrieve(starting.id)).status === "initializing");
	await suspending.ssh.out("echo kept >~/file");
	await devboxes.suspend(suspending.id);
	await devboxes.shutdown(ending.id);
	await daemon.kill();
	await daemon.start();
	expect((await suspending.awaitStatus("suspended")).status).toBe("suspended");
	await suspending.resume();
	expect(await suspending.ssh.out("cat ~/file")).toBe("kept");
	expect((await ending.view()).status).toBe("shutdown");
	expect((await devboxes.retrieve(starting.id)).status).toMatch(/^(provisioning|initializing)$/);
	await devboxes.shutdown(starting.id);
});
