import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import ssh2 from "ssh2";
import { StoreError } from "../../errors.js";
import type { SecretStorage } from "../../store/index.js";

export interface HostKeys {
	/** What ssh2 reads. Secrets. */
	readonly privateKeys: readonly string[];
	/** `ssh-ed25519 <base64>`, `ecdsa-sha2-nistp256 <base64>`. */
	readonly publicKeys: readonly string[];
}

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
	const privateKeys: string[] = stored === undefined ? makeKeys() : JSON.parse(stored);
	if (stored === undefined) await secrets.set(secretName, JSON.stringify(privateKeys));
	const publicKeys = privateKeys.map(publicKeyOf);
	if (known === undefined) {
		await mkdir(dirname(publicKeyFile), { recursive: true });
		await writeFile(publicKeyFile, publicKeys.map((line) => `${line}\n`).join(""));
	}
	return { privateKeys, publicKeys };
}

function makeKeys(): string[] {
	return [
		ssh2.utils.generateKeyPairSync("ed25519", { comment: "" }).private,
		ssh2.utils.generateKeyPairSync("ecdsa", { bits: 256, comment: "" }).private,
	];
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
