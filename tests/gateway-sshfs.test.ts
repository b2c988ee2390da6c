/** A devbox's files as a directory of this machine: sshfs through the gateway. */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { collect, type Result, SshClient } from "./support/ssh.js";

let daemon: Daemon;
let ssh: SshClient;
let config: string;
beforeAll(async () => {
	daemon = await Daemon.start();
	const box = await Box.create(daemon);
	ssh = await SshClient.throughGateway(daemon, box.id);
	config = await ssh.writeConfig("gateway");
	await mkdir(join(ssh.directory, "mounted"));
});
afterAll(() => daemon?.remove());

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/**
 * Runs a script in the mounted home of the box's user. Mount and processes have namespaces of their own, so that nothing is
 * left whatever happens. The kernel's caches are off: what the script reads comes from the box.
 */
function mounted(script: string): Promise<Result> {
	const directory = join(ssh.directory, "mounted");
	const mount = `sshfs -F '${config}' -o direct_io,dir_cache=no gateway: '${directory}'`;
	const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
	return collect(spawn("unshare", [...namespaces, "sh", "-ec", `${mount}; cd '${directory}'; ${script}`]));
}

test("files are written, read, changed in the middle, renamed, linked and removed", async () => {
	const bytes = randomBytes(20_000_000);
	const local = join(ssh.directory, "local");
	await writeFile(local, bytes);
	const written = await mounted(`
		mkdir -p sshfs/deep
		cp '${local}' sshfs/deep/copy
		cp sshfs/deep/copy '${local}.back'
		printf changed | dd of=sshfs/deep/copy bs=1 seek=1000000 conv=notrunc status=none
		mv sshfs/deep/copy sshfs/moved
		ln -s moved sshfs/link
		chmod 640 sshfs/moved
		echo more >sshfs/gone; rm sshfs/gone; rmdir sshfs/deep`);
	expect(written).toMatchObject({ code: 0, stderr: "" });
	expect(sha256(await readFile(`${local}.back`))).toBe(sha256(bytes));
	bytes.write("changed", 1_000_000);
	expect(await ssh.out("cd sshfs; ls; readlink link; stat -c %a moved; sha256sum <link")).toBe(
		["link", "moved", "moved", "640", `${sha256(bytes)}  -`].join("\n"),
	);
});

test("what the box writes is there", async () => {
	const local = join(ssh.directory, "local");
	const sum = await ssh.out("head -c 5000000 /dev/urandom | tee from-box | sha256sum");
	expect(await mounted(`cp from-box '${local}'`)).toMatchObject({ code: 0, stderr: "" });
	expect(`${sha256(await readFile(local))}  -`).toBe(sum);
	expect((await mounted("cat nothing")).stderr).toContain("No such file or directory");
});
