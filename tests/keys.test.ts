/** Who gets into a devbox, and how a client knows that it is the right one. */
import { spawn } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Box } from "./support/box.js";
import { shell } from "./support/cli.js";
import { Daemon } from "./support/daemon.js";
import { collect, type SshClient } from "./support/ssh.js";

let daemon: Daemon;
let a: Box;
let b: Box;
beforeAll(async () => {
	// With the demo: its ssh command is tried as it was printed.
	daemon = await Daemon.start({ command: "up" });
	[a, b] = await Promise.all([Box.create(daemon), Box.create(daemon)]);
});
afterAll(() => daemon?.remove());

/** ssh that got through TLS and was refused by sshd. */
async function expectRefused(client: SshClient) {
	const { code, stdout, stderr } = await client.run("echo inside");
	expect(String(stdout)).toBe("");
	// What sshd would still take: keys, and nothing else.
	expect(stderr).toContain("Permission denied (publickey).");
	expect(code).toBe(255);
}

describe("the key of a devbox", () => {
	test("is an ECDSA P-256 pair as SEC1 PEM", async () => {
		const pem = await readFile(a.ssh.keyFile, "utf8");
		expect(pem).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+-----END EC PRIVATE KEY-----\n$/);
		expect(createPrivateKey(pem).asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
		const { stdout } = await collect(spawn("ssh-keygen", ["-l", "-f", a.ssh.keyFile]));
		expect(String(stdout)).toMatch(/^256 SHA256:.*\(ECDSA\)$/m);
	});

	test("is the same at every call, and another for each devbox", async () => {
		const { devboxes } = daemon.sdk().api;
		const first = await devboxes.createSSHKey(a.id);
		expect(await devboxes.createSSHKey(a.id)).toEqual(first);
		expect(first.ssh_private_key).toBe(await readFile(a.ssh.keyFile, "utf8"));
		expect(first.ssh_private_key).not.toBe(await readFile(b.ssh.keyFile, "utf8"));
	});

	test("opens its own devbox and no other", async () => {
		expect(await a.ssh.out("echo inside")).toBe("inside");
		await expectRefused(b.ssh.with({ IdentityFile: a.ssh.keyFile }));
	});

	test("is the only one that the box takes, even from within", async () => {
		const own = join(a.ssh.directory, "own");
		await collect(spawn("ssh-keygen", ["-q", "-t", "ecdsa", "-N", "", "-f", own]));
		await a.ssh.out("mkdir -p -m 700 ~/.ssh; cat >~/.ssh/authorized_keys", await readFile(`${own}.pub`, "utf8"));
		await expectRefused(a.ssh.with({ IdentityFile: own }));
	});

	test("lets in as the devbox's user and as nobody else", async () => {
		await expectRefused(a.ssh.as("root"));
		await expectRefused(a.ssh.as("nobody"));
		await expectRefused(a.ssh.as("no-such-user"));
	});
});

describe("without a key", () => {
	test("nobody gets in", async () => {
		await expectRefused(a.ssh.with({ PubkeyAuthentication: "no" }));
		await expectRefused(a.ssh.with({ PreferredAuthentications: "none" }));
	});

	test.each(["password", "keyboard-interactive", "hostbased", "gssapi-with-mic"])(
		"%s is not offered",
		async (method) => {
			// A password that would be right: the test is that nobody asks for it.
			await a.ssh.out("echo user:secret | sudo -n chpasswd");
			const asked = join(a.ssh.directory, "asked");
			const askpass = join(a.ssh.directory, "askpass");
			await writeFile(askpass, `#!/bin/sh\necho asked >>'${asked}'\necho secret\n`, { mode: 0o755 });
			const client = a.ssh.with({ PreferredAuthentications: method, PubkeyAuthentication: "no", BatchMode: "no" });
			const { code, stdout, stderr } = await collect(
				spawn("ssh", [...client.options(), client.target, "echo inside"], {
					env: { ...process.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force", DISPLAY: ":0" },
				}),
			);
			expect({ code, stdout: String(stdout) }).toEqual({ code: 255, stdout: "" });
			expect(stderr).toContain("Permission denied (publickey).");
			await expect(readFile(asked)).rejects.toMatchObject({ code: "ENOENT" });
		},
	);
});

describe("one @cert-authority line", () => {
	const knownHosts = () => join(daemon.dataDir, "ssh_known_hosts");
	const strictly = (client: SshClient, file: string) =>
		client.with({ StrictHostKeyChecking: "yes", UserKnownHostsFile: file, GlobalKnownHostsFile: "/dev/null" });

	test("verifies every devbox", async () => {
		expect(await readFile(knownHosts(), "utf8")).toMatch(
			/^@cert-authority \*\.ssh\.gangway\.localhost ecdsa-sha2-nistp256 \S+\n/,
		);
		for (const { ssh } of [a, b]) expect(await strictly(ssh, knownHosts()).out("echo inside")).toBe("inside");
	});

	test("of another CA verifies none", async () => {
		const ca = join(a.ssh.directory, "other-ca");
		await collect(spawn("ssh-keygen", ["-q", "-t", "ecdsa", "-N", "", "-f", ca]));
		const file = join(a.ssh.directory, "other-known-hosts");
		await writeFile(file, `@cert-authority *.ssh.gangway.localhost ${await readFile(`${ca}.pub`, "utf8")}`);
		const { code, stderr } = await strictly(a.ssh, file).run("echo inside");
		expect(code).toBe(255);
		expect(stderr).toContain("Host key verification failed.");
	});

	test("does not let one devbox pass for another", async () => {
		const misled = strictly(a.ssh, knownHosts()).with({ ProxyCommand: a.ssh.proxyCommand.replace("%h", b.ssh.host) });
		const { code, stderr } = await misled.run("echo inside");
		expect(code).toBe(255);
		expect(stderr).toContain("Certificate invalid: name is not a listed principal");
		expect(stderr).toContain("Host key verification failed.");
	});

	test("is in what the demo prints: its command asks nothing", async () => {
		const [, command] = /^\s+(ssh .*)$/m.exec(daemon.output)!;
		expect(await shell(`${command} -o BatchMode=yes echo inside`)).toMatchObject({
			code: 0,
			stdout: Buffer.from("inside\n"),
		});
	});
});
