import { generateKeyPair } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import ssh2 from "ssh2";
import { sshString, sshUint32 } from "../../devboxes/index.js";
import { StoreError } from "../../errors.js";
import type { SecretStorage } from "../../store/index.js";

export interface HostKeys {
	/** What ssh2 reads. Secrets. */
	readonly privateKeys: readonly string[];
	/** `ssh-ed25519 <base64>`, `ecdsa-sha2-nistp256 <base64>`. */
	readonly publicKeys: readonly string[];
}

const generate = promisify(generateKeyPair);

const secretName = "ssh gateway host keys";

/**
 * The gateway's host keys, made at the first start. Everybody's `known_hosts` hangs on them, so where they have been, as the
 * file of public keys tells, and are not any more, that is an error and never a reason to make others.
 */
export async function openHostKeys({
	secrets,
	publicKeyFile,
}: {
	readonly secrets: SecretStorage;
	readonly publicKeyFile: string;
}): Promise<HostKeys> {
	const known = await readIfThere(publicKeyFile);
	const stored = await secrets.get(secretName);
	if (stored === undefined && known !== undefined) {
		throw new StoreError(
			"damaged",
			`the SSH host keys are not in the store, and ${publicKeyFile} says that there were some; restore the store, or remove that file to have new ones made, which every client will warn of`,
		);
	}
	const privateKeys: string[] = stored === undefined ? await makeKeys() : JSON.parse(stored);
	if (stored === undefined) await secrets.set(secretName, JSON.stringify(privateKeys));
	const publicKeys = privateKeys.map(publicKeyOf);
	if (known === undefined) {
		await mkdir(dirname(publicKeyFile), { recursive: true });
		await writeFile(publicKeyFile, publicKeys.map((line) => `${line}\n`).join(""));
	}
	return { privateKeys, publicKeys };
}

async function makeKeys(): Promise<string[]> {
	const { privateKey } = await generate("ed25519");
	const { x, d } = privateKey.export({ format: "jwk" }) as { x: string; d: string };
	const ecdsa = await generate("ec", { namedCurve: "prime256v1" });
	return [
		ed25519Pem(Buffer.from(x, "base64url"), Buffer.from(d, "base64url")),
		ecdsa.privateKey.export({ type: "sec1", format: "pem" }).toString(),
	];
}

/**
 * OpenSSH's own format (its PROTOCOL.key), unencrypted: the only one of ed25519 that ssh2 reads. What ssh2 itself makes in this
 * format is damaged, one key in a hundred.
 */
export function ed25519Pem(publicKey: Buffer, seed: Buffer): string {
	const type = sshString("ssh-ed25519");
	const check = sshUint32(0);
	const fields = [check, check, type, sshString(publicKey), sshString(Buffer.concat([seed, publicKey])), sshString("")];
	const section = Buffer.concat(fields);
	const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, (8 - (section.length % 8)) % 8);
	const body = Buffer.concat([
		Buffer.from("openssh-key-v1\0"),
		...[sshString("none"), sshString("none"), sshString(""), sshUint32(1)],
		sshString(Buffer.concat([type, sshString(publicKey)])),
		sshString(Buffer.concat([section, padding])),
	]);
	const lines = body.toString("base64").match(/.{1,70}/g)!;
	return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join("\n");
}

function publicKeyOf(privateKey: string): string {
	const key = ssh2.utils.parseKey(privateKey);
	if (key instanceof Error) throw new StoreError("damaged", "a stored SSH host key cannot be read", { cause: key });
	return `${key.type} ${key.getPublicSSH().toString("base64")}`;
}

async function readIfThere(file: string): Promise<string | undefined> {
	try {
		return await readFile(file, "utf8");
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}
