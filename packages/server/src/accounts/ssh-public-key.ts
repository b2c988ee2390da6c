import { createHash, createPublicKey, type JsonWebKey } from "node:crypto";
import { InvalidError } from "../errors.js";
import { controlCharacters } from "./names.js";

/** A user's public key, fully checked. */
export interface SshPublicKey {
	/** `ssh-ed25519`, `ssh-rsa` … */
	readonly keyType: string;
	/** As it goes over the wire (RFC 4253, section 6.6). */
	readonly blob: Buffer;
	/** `<type> <base64>`. */
	readonly line: string;
	readonly comment: string;
	/** `SHA256:…`. */
	readonly fingerprint: string;
}

const maxBytes = 16 * 1024;
const minRsaBits = 2048;
const maxRsaBits = 16_384;

const curves: Readonly<Record<string, { readonly name: string; readonly crv: string; readonly bytes: number }>> = {
	"ecdsa-sha2-nistp256": { name: "nistp256", crv: "P-256", bytes: 32 },
	"ecdsa-sha2-nistp384": { name: "nistp384", crv: "P-384", bytes: 48 },
	"ecdsa-sha2-nistp521": { name: "nistp521", crv: "P-521", bytes: 66 },
};

const types = ["ssh-ed25519", ...Object.keys(curves), "ssh-rsa"];
const allowed = `allowed: one line of a .pub file with a key of type ${types.slice(0, -1).join(", ")} or ssh-rsa (${minRsaBits} bits or more)`;

/**
 * Reads a line of `authorized_keys` format without options (sshd(8)), as a `.pub` file has it.
 * Throws `InvalidError`, which says what is wrong and never repeats the text: it may be a private key.
 */
export function parseSshPublicKey(text: string): SshPublicKey {
	if (Buffer.byteLength(text) > maxBytes) throw invalid(`must have at most 16 KiB; ${allowed}`);
	const trimmed = text.trim();
	refuseOtherFormats(trimmed);
	if (trimmed === "") throw invalid(`is empty; ${allowed}`);
	if (/[\r\n]/.test(trimmed)) throw invalid(`has several lines, upload one key at a time; ${allowed}`);
	// Also those that `.` does not match: without them `split` never goes back to try another way.
	if (controlCharacters.test(trimmed.replaceAll("\t", " "))) throw invalid(`holds control characters; ${allowed}`);
	const [keyType = "", base64 = "", comment = ""] = split(trimmed);
	if (!types.includes(keyType)) throw refusedType(keyType, trimmed);
	const blob = decode(base64);
	checkBlob(keyType, blob);
	return { keyType, blob, line: `${keyType} ${base64}`, comment, fingerprint: fingerprintOf(blob) };
}

/** As ssh-keygen prints it. */
export function fingerprintOf(blob: Uint8Array): string {
	return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function split(line: string): string[] {
	return /^(\S+)(?:[ \t]+(\S+))?(?:[ \t]+(.*))?$/.exec(line)?.slice(1) ?? [];
}

function refuseOtherFormats(text: string): void {
	// Also without its first line: "openssh-key-v1" in base64, as every private key of OpenSSH begins.
	if (/PRIVATE KEY|b3BlbnNzaC1rZXktdjE/.test(text) || text.startsWith("PuTTY-User-Key-File")) {
		throw invalid(
			"this is a private key: keep it secret, and upload the .pub file. It was not stored; if others could see it on its way here, make a new pair",
		);
	}
	if (text.startsWith("---- BEGIN SSH2 PUBLIC KEY")) {
		throw invalid("is in the format of RFC 4716 (PuTTYgen's): convert it with ssh-keygen -i -f FILE");
	}
	if (/^-----BEGIN (RSA )?PUBLIC KEY/.test(text)) {
		const format = text.startsWith("-----BEGIN RSA") ? "PEM" : "PKCS8";
		throw invalid(`is a PEM file: convert it with ssh-keygen -i -m ${format} -f FILE`);
	}
}

function refusedType(type: string, line: string): InvalidError {
	if (/-cert-v0\d@openssh\.com$/.test(type)) return invalid(`is a certificate: upload the key itself; ${allowed}`);
	if (/^sk-(ssh|ecdsa)-/.test(type)) {
		return invalid(`is of a security key (sk-…), whose signatures this gateway cannot verify yet; ${allowed}`);
	}
	if (type === "ssh-dss") return invalid(`is a DSA key, which is too weak; ${allowed}`);
	if (hasKeyAfterOptions(line)) {
		return invalid(`begins with options, which are not taken: leave out what stands before the key's type; ${allowed}`);
	}
	return invalid(`begins with no type of key that is known; ${allowed}`);
}

function hasKeyAfterOptions(line: string): boolean {
	const words = line.split(/\s+/);
	return words.some((word, n) => n > 0 && /^(sk-)?(ssh|ecdsa)-/.test(word) && words[n + 1]?.startsWith("AAAA"));
}

function decode(base64: string): Buffer {
	const blob = Buffer.from(base64, "base64");
	if (base64 === "" || blob.toString("base64") !== base64) {
		throw invalid("is damaged: what follows the type is not base64; copy the whole line of the .pub file");
	}
	return blob;
}

function checkBlob(keyType: string, blob: Buffer): void {
	const fields = readStrings(blob);
	if (fields[0]?.toString("latin1") !== keyType) throw damaged("what it says it is and what it is differ");
	const jwk = toJwk(keyType, fields.slice(1));
	try {
		createPublicKey({ key: jwk, format: "jwk" });
	} catch (cause) {
		throw damaged("its numbers make no key", { cause });
	}
}

/** A key is a sequence of strings (RFC 4251, section 5), nothing after them. */
function readStrings(blob: Buffer): Buffer[] {
	const strings: Buffer[] = [];
	for (let at = 0; at < blob.length; ) {
		const start = at + 4;
		const end = start > blob.length ? Number.POSITIVE_INFINITY : start + blob.readUInt32BE(at);
		if (end > blob.length) throw damaged("it ends too early");
		strings.push(blob.subarray(start, end));
		at = end;
	}
	return strings;
}

function toJwk(keyType: string, fields: readonly Buffer[]): JsonWebKey {
	const curve = curves[keyType];
	if (fields.length !== (keyType === "ssh-ed25519" ? 1 : 2)) throw damaged("it has too few or too many parts");
	const [first, second] = fields as [Buffer, Buffer];
	if (keyType === "ssh-rsa") return rsaJwk(first, second);
	return curve ? ecJwk(curve, first, second) : ed25519Jwk(first);
}

/** RFC 8709, section 4. */
function ed25519Jwk(point: Buffer): JsonWebKey {
	if (point.length !== 32) throw damaged("an ed25519 key has 32 bytes");
	return { kty: "OKP", crv: "Ed25519", x: point.toString("base64url") };
}

/** RFC 5656, section 3.1: the curve's name and an uncompressed point. OpenSSL checks that it is on the curve. */
function ecJwk(curve: (typeof curves)[string], name: Buffer, point: Buffer): JsonWebKey {
	if (name.toString("latin1") !== curve.name) throw damaged("its curve is not the one of its type");
	if (point.length !== 1 + 2 * curve.bytes || point[0] !== 4) throw damaged("its point is not an uncompressed one");
	const x = point.subarray(1, 1 + curve.bytes).toString("base64url");
	const y = point.subarray(1 + curve.bytes).toString("base64url");
	return { kty: "EC", crv: curve.crv, x, y };
}

function rsaJwk(exponent: Buffer, modulus: Buffer): JsonWebKey {
	const e = readMpint(exponent);
	const n = readMpint(modulus);
	const bits = n.toString(2).length;
	if (bits < minRsaBits) throw invalid(`is an RSA key of ${bits} bits; ${allowed}`);
	if (bits > maxRsaBits) throw invalid(`is an RSA key of ${bits} bits, more than ${maxRsaBits}`);
	if (e < 3n || e % 2n === 0n || e >= n || n % 2n === 0n) throw damaged("its numbers make no key");
	return { kty: "RSA", e: exponent.toString("base64url"), n: modulus.toString("base64url") };
}

/** A positive number in its only form (RFC 4251, section 5): a second form would be a second fingerprint of the key. */
function readMpint(bytes: Buffer): bigint {
	const [first = 0x80, second = 0] = bytes;
	if (first >= 0x80 || (first === 0 && second < 0x80))
		throw damaged("its numbers are not positive and in shortest form");
	return BigInt(`0x${bytes.toString("hex")}`);
}

function damaged(why: string, options?: ErrorOptions): InvalidError {
	return invalid(`is damaged: ${why}; copy the whole line of the .pub file`, options);
}

function invalid(message: string, options?: ErrorOptions): InvalidError {
	return new InvalidError("public_key", message, options);
}
