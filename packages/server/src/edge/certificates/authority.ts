// @peculiar/x509 resolves its parts through tsyringe, which needs this polyfill before it.
import "reflect-metadata";
import { createPrivateKey, randomBytes, type webcrypto } from "node:crypto";
import {
	AuthorityKeyIdentifierExtension,
	BasicConstraintsExtension,
	ExtendedKeyUsage,
	ExtendedKeyUsageExtension,
	Extension,
	KeyUsageFlags,
	KeyUsagesExtension,
	SubjectAlternativeNameExtension,
	SubjectKeyIdentifierExtension,
	X509Certificate,
	X509CertificateGenerator,
} from "@peculiar/x509";
import { NAME_CONSTRAINTS, nameConstraints } from "./name-constraints.js";
import type { KeyPair } from "./source.js";

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const LEAF_DAYS = 90;
/** Clocks of clients may be behind. */
const BACKDATE_MS = 3_600_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const LOOPBACK = ["127.0.0.1", "::1"];

/** A certification authority for one domain. It can sign nothing that a client would believe about other names. */
export class Authority {
	readonly #cert: X509Certificate;
	readonly #key: webcrypto.CryptoKey;
	readonly #keyPem: string;

	private constructor(cert: X509Certificate, key: webcrypto.CryptoKey, keyPem: string) {
		this.#cert = cert;
		this.#key = key;
		this.#keyPem = keyPem;
	}

	static async create(domain: string, nowMs: number): Promise<Authority> {
		const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
		const cert = await X509CertificateGenerator.createSelfSigned({
			serialNumber: serial(),
			// Trust stores find a CA by its name: two daemons' CAs need two names. A common name has at most 64 characters.
			name: [{ CN: [`Gangway local CA ${domain.slice(0, 32)} ${randomBytes(4).toString("hex")}`] }],
			keys,
			signingAlgorithm: ALGORITHM,
			...validity(nowMs, CA_DAYS),
			extensions: [
				new BasicConstraintsExtension(true, 0, true),
				new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
				// Constraints on DNS names and addresses say nothing about e-mail; the purpose does.
				new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
				permits(domain),
				await SubjectKeyIdentifierExtension.create(keys.publicKey),
			],
		});
		return new Authority(cert, keys.privateKey, await exportKey(keys.privateKey));
	}

	/** Reads what `toPem` gave; undefined if it is not that. */
	static async fromPem(pem: string): Promise<Authority | undefined> {
		try {
			const pkcs8 = createPrivateKey(pem).export({ type: "pkcs8", format: "der" });
			const key = await crypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, true, ["sign"]);
			const start = pem.indexOf("-----BEGIN CERTIFICATE-----");
			return new Authority(new X509Certificate(pem.slice(start)), key, await exportKey(key));
		} catch {
			return undefined;
		}
	}

	/** Key and certificate; secret. */
	toPem(): string {
		return `${this.#keyPem}${this.certPem}`;
	}

	/** Public. */
	get certPem(): string {
		return `${this.#cert.toString("pem")}\n`;
	}

	get expiresAtMs(): number {
		return this.#cert.notAfter.getTime();
	}

	/** The constraints are those that a CA for `domain` gets today. */
	serves(domain: string): boolean {
		const constraints = this.#cert.getExtension(NAME_CONSTRAINTS);
		return constraints !== null && Buffer.from(constraints.value).equals(Buffer.from(permits(domain).value));
	}

	/** A server certificate for every name of `domain`, with a new key. */
	async issue(domain: string, nowMs: number): Promise<KeyPair & { readonly expiresAtMs: number }> {
		const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
		const wildcards = ["", "tunnel.", "ssh."].map((part) => `*.${part}${domain}`);
		const dns = [...new Set([domain, ...wildcards, "localhost"])].map((value) => ({ type: "dns" as const, value }));
		const ip = LOOPBACK.map((value) => ({ type: "ip" as const, value }));
		const cert = await X509CertificateGenerator.create({
			serialNumber: serial(),
			subject: [{ CN: ["Gangway"] }],
			issuer: this.#cert.subjectName,
			publicKey: keys.publicKey,
			signingKey: this.#key,
			signingAlgorithm: ALGORITHM,
			...validity(nowMs, LEAF_DAYS),
			extensions: [
				new BasicConstraintsExtension(false, undefined, true),
				new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
				new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
				new SubjectAlternativeNameExtension([...dns, ...ip]),
				await AuthorityKeyIdentifierExtension.create(this.#cert.publicKey),
				await SubjectKeyIdentifierExtension.create(keys.publicKey),
			],
		});
		const pem = `${cert.toString("pem")}\n`;
		return { cert: pem, key: await exportKey(keys.privateKey), expiresAtMs: cert.notAfter.getTime() };
	}
}

function permits(domain: string): Extension {
	return new Extension(NAME_CONSTRAINTS, true, nameConstraints([...new Set([domain, "localhost"])], LOOPBACK));
}

function validity(nowMs: number, days: number): { notBefore: Date; notAfter: Date } {
	return { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + days * DAY_MS) };
}

/** 127 random bits: positive and unpredictable. */
function serial(): string {
	const bytes = randomBytes(16);
	bytes[0] = (bytes[0]! & 0x3f) | 0x40;
	return bytes.toString("hex");
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
	const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", key));
	return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }).export({
		type: "pkcs8",
		format: "pem",
	}) as string;
}
