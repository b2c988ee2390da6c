import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utils } from "ssh2";
import { expect, onTestFinished, test } from "vitest";
import { ed25519Pem, openHostKeys } from "./host-keys.js";

function place() {
	const directory = mkdtempSync(join(tmpdir(), "gangway-host-keys-"));
	onTestFinished(() => rmSync(directory, { recursive: true }));
	const stored = new Map<string, string>();
	const secrets = {
		get: async (name: string) => stored.get(name),
		set: async (name: string, value: string) => void stored.set(name, value),
	};
	return { stored, secrets, publicKeyFile: join(directory, "ssh_host_keys.pub") };
}

test("are made once, one of each kind, and kept in the store; the file has the public ones only", async () => {
	const { stored, ...where } = place();
	const made = await openHostKeys(where);
	expect(made.publicKeys.map((line) => line.split(" ")[0])).toEqual(["ssh-ed25519", "ecdsa-sha2-nistp256"]);
	expect(readFileSync(where.publicKeyFile, "utf8")).toBe(made.publicKeys.map((line) => `${line}\n`).join(""));
	expect(await openHostKeys(where)).toEqual(made);
	expect(stored.size).toBe(1);
});

test("are not made anew where there were some: that is an error", async () => {
	const { stored, ...where } = place();
	const { publicKeys } = await openHostKeys(where);
	stored.clear();
	await expect(openHostKeys(where)).rejects.toMatchObject({ code: "damaged" });
	expect(stored.size).toBe(0);
	expect(readFileSync(where.publicKeyFile, "utf8")).toContain(publicKeys[0]);
});

test("an ed25519 key is what it was, whatever bytes it has (ssh2's own are not, one in a hundred)", () => {
	for (let n = 0; n < 1000; n++) {
		const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
		const publicKey = Buffer.from(jwk.x!, "base64url");
		const parsed = utils.parseKey(ed25519Pem(publicKey, Buffer.from(jwk.d!, "base64url")));
		if (parsed instanceof Error) throw parsed;
		expect(parsed.getPublicSSH().subarray(-32)).toEqual(publicKey);
		expect(parsed.verify("x", parsed.sign("x") as Buffer)).toBe(true);
	}
});
