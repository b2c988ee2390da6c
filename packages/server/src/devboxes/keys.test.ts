import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { issueHostCertificate } from "./host-certificate.js";
import { generateEcdsaKeyPair, publicKeyOf } from "./keys.js";
import { sshMpint } from "./wire.js";

const run = promisify(execFile);
let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "gangway-keys-"));
});
afterEach(() => rm(dir, { recursive: true }));

test("a pair is SEC1 PEM, and ssh-keygen reads the same public key out of it", async () => {
	for (let i = 0; i < 20; i++) {
		const pair = await generateEcdsaKeyPair();
		expect(pair.privateKeyPem).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
		expect(publicKeyOf(pair.privateKeyPem)).toBe(pair.publicKey);
		const file = join(dir, `key${i}`);
		await writeFile(file, pair.privateKeyPem, { mode: 0o600 });
		const { stdout } = await run("ssh-keygen", ["-y", "-f", file]);
		expect(stdout.trim()).toBe(pair.publicKey);
	}
});

test("ssh-keygen verifies a host certificate and finds one principal in it", async () => {
	const ca = await generateEcdsaKeyPair();
	const host = await generateEcdsaKeyPair();
	const line = issueHostCertificate({
		ca,
		hostPublicKey: host.publicKey,
		hostname: "dbx-1.ssh.example.com",
		serial: 7,
		nowMs: Date.now(),
	});
	const file = join(dir, "host-cert.pub");
	await writeFile(file, `${line}\n`);
	const { stdout } = await run("ssh-keygen", ["-L", "-f", file]);
	expect(stdout).toContain("ecdsa-sha2-nistp256-cert-v01@openssh.com host certificate");
	expect(stdout).toMatch(/Principals:\s+dbx-1\.ssh\.example\.com\s+Critical Options: \(none\)/);
	expect(stdout).toContain("Serial: 7");
	await writeFile(join(dir, "ca.pub"), ca.publicKey);
	const fingerprint = (await run("ssh-keygen", ["-l", "-f", join(dir, "ca.pub")])).stdout.split(" ")[1];
	expect(stdout).toContain(`Signing CA: ECDSA ${fingerprint}`);
});

test("an mpint has no needless zeros and is never negative", () => {
	expect([...sshMpint(Buffer.of(0, 0, 0x7f))]).toEqual([0, 0, 0, 1, 0x7f]);
	expect([...sshMpint(Buffer.of(0x80))]).toEqual([0, 0, 0, 2, 0, 0x80]);
	expect([...sshMpint(Buffer.of(0))]).toEqual([0, 0, 0, 0]);
});
