import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ssh2 from "ssh2";
import { afterAll, describe, expect, test } from "vitest";
import { sshMpint, sshString } from "../devboxes/wire.js";
import { InvalidError } from "../errors.js";
import { parseSshPublicKey } from "./ssh-public-key.js";

const directory = mkdtempSync(join(tmpdir(), "gangway-test-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;

/** A pair as ssh-keygen makes it: its `.pub` line, its private key, its fingerprint. */
function keygen(type: string, bits?: number) {
	const file = join(directory, `id${made++}`);
	const size = bits === undefined ? [] : ["-b", String(bits)];
	execFileSync("ssh-keygen", ["-q", "-t", type, ...size, "-N", "", "-C", "ann@laptop of mine", "-f", file]);
	const fingerprint = execFileSync("ssh-keygen", ["-l", "-f", `${file}.pub`], { encoding: "utf8" }).split(" ")[1];
	return { file, line: readFileSync(`${file}.pub`, "utf8"), privateKey: readFileSync(file, "utf8"), fingerprint };
}

const convert = (file: string, format: string) =>
	execFileSync("ssh-keygen", ["-e", "-m", format, "-f", `${file}.pub`], { encoding: "utf8" });

/** Why it is refused; the message never repeats what was given. */
function refusal(text: string): string {
	try {
		parseSshPublicKey(text);
	} catch (error) {
		expect(error).toBeInstanceOf(InvalidError);
		const { message } = error as InvalidError;
		for (const word of text.split(/\s+/)) if (word.length > 20) expect(message).not.toContain(word);
		return message;
	}
	throw new Error("it was taken");
}

const encode = (type: string, ...parts: Uint8Array[]) =>
	`${type} ${Buffer.concat([sshString(type), ...parts.map((part) => sshString(part))]).toString("base64")}`;

/** The content of an mpint. */
const mpint = (unsigned: Uint8Array) => sshMpint(unsigned).subarray(4);

describe("takes what ssh-keygen makes", () => {
	test.each([
		["ed25519", undefined, "ssh-ed25519"],
		["ecdsa", 256, "ecdsa-sha2-nistp256"],
		["ecdsa", 384, "ecdsa-sha2-nistp384"],
		["ecdsa", 521, "ecdsa-sha2-nistp521"],
		["rsa", 2048, "ssh-rsa"],
		["rsa", 3072, "ssh-rsa"],
	])("%s %s", (type, bits, keyType) => {
		const { line, fingerprint } = keygen(type, bits);
		const key = parseSshPublicKey(line);
		expect(key).toMatchObject({ keyType, fingerprint, comment: "ann@laptop of mine" });
		expect(key.line).toBe(line.split(" ").slice(0, 2).join(" "));
		expect(parseSshPublicKey(key.line)).toEqual({ ...key, comment: "" });
		const parsed = ssh2.utils.parseKey(key.line);
		expect(parsed).toMatchObject({ type: keyType });
		expect((parsed as ssh2.ParsedKey).getPublicSSH()).toEqual(key.blob);
	});

	test("with blanks and tabs around it", () => {
		const { line } = keygen("ed25519");
		expect(parseSshPublicKey(`\t ${line.replaceAll(" ", "\t")}\r\n\n`).comment).toBe("ann@laptop\tof\tmine");
	});
});

describe("a private key is refused, with a warning", () => {
	const warning = /^public_key: this is a private key: keep it secret, and upload the \.pub file/;

	test("of OpenSSH, also without its first line", () => {
		const { privateKey } = keygen("ed25519");
		expect(refusal(privateKey)).toMatch(warning);
		expect(refusal(privateKey.split("\n").slice(1).join("\n"))).toMatch(warning);
	});

	test.each(["PEM", "PKCS8"])("in %s", (format) => {
		const { file } = keygen("rsa", 2048);
		execFileSync("ssh-keygen", ["-q", "-p", "-m", format, "-N", "", "-P", "", "-f", file]);
		expect(refusal(readFileSync(file, "utf8"))).toMatch(warning);
	});

	test("of PuTTY", () => {
		expect(refusal("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n")).toMatch(warning);
	});
});

describe("says what is wrong", () => {
	const { line, file } = keygen("ed25519");
	const [type, base64] = line.split(" ") as [string, string];
	const rsa = keygen("rsa", 2048);

	test.each([
		["", "is empty"],
		["   \n", "is empty"],
		[`${line}${line}`, "several lines"],
		[`from="10.0.0.0/8" ${line}`, "begins with options"],
		[`no-pty,command="echo a b" ${line}`, "begins with options"],
		["hello", "no type of key"],
		[base64, "no type of key"],
		[`ssh-dss ${base64}`, "DSA"],
		[`sk-ssh-ed25519@openssh.com ${base64}`, "security key"],
		[`sk-ecdsa-sha2-nistp256@openssh.com ${base64}`, "security key"],
		[`ssh-ed25519-cert-v01@openssh.com ${base64}`, "certificate"],
		[`ecdsa-sha2-nistp256 ${base64}`, "differ"],
		[type, "not base64"],
		[`${type} ${base64.slice(0, -1)}`, "not base64"],
		[`${type} ${base64.slice(0, 10)}!${base64.slice(11)}`, "not base64"],
		[`${type} ${base64.slice(0, -4)}`, "ends too early"],
		[`${line.trim()}\0`, "control characters"],
		[`${line.trim()} \u009b31m`, "control characters"],
		[`${line.trim()} \u202egnp.exe`, "control characters"],
		[`${type} ${base64}${" ".repeat(8_000)}\u2028x`, "control characters"],
		[`${type} ${base64} ${"x".repeat(16 * 1024)}`, "at most 16 KiB"],
	])("%#: %s", (text, why) => {
		expect(refusal(text)).toContain(why);
	});

	test("formats that ssh-keygen converts", () => {
		expect(refusal(convert(file, "RFC4716"))).toContain("ssh-keygen -i -f FILE");
		expect(refusal(convert(rsa.file, "PKCS8"))).toContain("ssh-keygen -i -m PKCS8 -f FILE");
		expect(refusal(convert(rsa.file, "PEM"))).toContain("ssh-keygen -i -m PEM -f FILE");
	});

	test("an RSA key of 1024 bits", () => {
		expect(refusal(keygen("rsa", 1024).line)).toContain("is an RSA key of 1024 bits");
	});

	test("a certificate that ssh-keygen made", () => {
		execFileSync("ssh-keygen", ["-q", "-s", rsa.file, "-I", "id", `${file}.pub`]);
		expect(refusal(readFileSync(`${file}-cert.pub`, "utf8"))).toContain("is a certificate");
	});
});

describe("numbers that make no key", () => {
	const three = Buffer.of(3);
	const odd = Buffer.concat([Buffer.of(0xff), randomBytes(254), Buffer.of(1)]);
	const even = Buffer.concat([odd.subarray(0, -1), Buffer.of(2)]);

	test("RSA", () => {
		expect(parseSshPublicKey(encode("ssh-rsa", three, mpint(odd))).keyType).toBe("ssh-rsa");
		for (const [e, n] of [
			[Buffer.of(1), mpint(odd)],
			[Buffer.of(4), mpint(odd)],
			[three, mpint(even)],
			[mpint(odd), mpint(odd)],
			[Buffer.alloc(0), mpint(odd)],
			[three, odd],
			[Buffer.of(0, 3), mpint(odd)],
			[three, Buffer.concat([Buffer.of(0), mpint(odd)])],
		] as const) {
			expect(refusal(encode("ssh-rsa", e, n))).toContain("damaged");
		}
		expect(refusal(encode("ssh-rsa", three))).toContain("too few or too many parts");
		expect(refusal(encode("ssh-rsa", three, mpint(odd), three))).toContain("too few or too many parts");
		expect(refusal(encode("ssh-rsa", three, mpint(Buffer.concat([odd, ...Array(8).fill(odd)]))))).toContain(
			"more than",
		);
	});

	test("ECDSA: points that are compressed, on no curve or at infinity, curves of another type", () => {
		const ecdsa = "ecdsa-sha2-nistp256";
		const curve = Buffer.from("nistp256");
		for (const point of [Buffer.concat([Buffer.of(4), randomBytes(64)]), Buffer.alloc(65, 4), Buffer.of(0)]) {
			expect(refusal(encode(ecdsa, curve, point))).toContain("damaged");
		}
		expect(refusal(encode(ecdsa, curve, Buffer.concat([Buffer.of(2), randomBytes(32)])))).toContain("uncompressed");
		expect(refusal(encode(ecdsa, Buffer.from("nistp384"), Buffer.alloc(65, 4)))).toContain("curve");
	});

	test("ed25519 of another length", () => {
		for (const bytes of [0, 31, 33, 64])
			expect(refusal(encode("ssh-ed25519", randomBytes(bytes)))).toContain("32 bytes");
	});
});

test("whatever is given, it is a key or an InvalidError", () => {
	const lines = [keygen("ed25519"), keygen("ecdsa", 256), keygen("rsa", 2048)].map(({ line }) => line.trim());
	let taken = 0;
	for (let n = 0; n < 3_000; n++) {
		const line = lines[n % lines.length] as string;
		const [type = "", base64 = "", comment = ""] = line.split(" ");
		const blob = Buffer.from(base64, "base64");
		const random = randomBytes(8);
		const at = random.readUInt16BE(0) % blob.length;
		blob[at] = random[2] as number;
		const cut = n % 2 === 0 ? blob : blob.subarray(0, at);
		const text =
			n % 5 === 0 ? random.toString("latin1") + line.slice(at) : `${type} ${cut.toString("base64")} ${comment}`;
		try {
			const key = parseSshPublicKey(text);
			expect(parseSshPublicKey(key.line).fingerprint).toBe(key.fingerprint);
			expect(ssh2.utils.parseKey(key.line)).not.toBeInstanceOf(Error);
			taken++;
		} catch (error) {
			expect(error).toBeInstanceOf(InvalidError);
		}
	}
	expect(taken).toBeGreaterThan(0);
});
