import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { sshString } from "./wire.js";

const generate = promisify(generateKeyPair);

/** An ECDSA P-256 pair: what every devbox has for its user, and another for its host. */
export interface KeyPair {
	/** SEC1 PEM (`EC PRIVATE KEY`, RFC 5915), which OpenSSH and OpenSSL read as it is. */
	readonly privateKeyPem: string;
	/** `ecdsa-sha2-nistp256 <base64>` (RFC 5656), without a comment. */
	readonly publicKey: string;
}

const algorithm = "ecdsa-sha2-nistp256";

export async function generateEcdsaKeyPair(): Promise<KeyPair> {
	const { privateKey } = await generate("ec", { namedCurve: "prime256v1" });
	return {
		privateKeyPem: privateKey.export({ type: "sec1", format: "pem" }).toString(),
		publicKey: sshPublicKey(privateKey),
	};
}

export function publicKeyOf(privateKeyPem: string): string {
	return sshPublicKey(createPrivateKey(privateKeyPem));
}

/** The blob of an OpenSSH public key line (RFC 4253, section 6.6). */
export function publicKeyBlob(publicKey: string): Buffer {
	return Buffer.from(publicKey.split(" ")[1] ?? "", "base64");
}

/** The point Q as an uncompressed SEC1 octet string, read out of a public key blob (RFC 5656, section 3.1). */
export function publicKeyPoint(publicKey: string): Buffer {
	const blob = publicKeyBlob(publicKey);
	return blob.subarray(blob.length - 65);
}

function sshPublicKey(privateKey: KeyObject): string {
	const { x, y } = createPublicKey(privateKey).export({ format: "jwk" }) as { x: string; y: string };
	const point = Buffer.concat([Buffer.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
	const blob = Buffer.concat([sshString(algorithm), sshString("nistp256"), sshString(point)]);
	return `${algorithm} ${blob.toString("base64")}`;
}
