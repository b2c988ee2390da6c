import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { SecretStorage } from "../../store/index.js";
import type { Authority } from "./authority.js";
import type { CertificateSource, KeyPair } from "./source.js";

/** The name of the local CA in the secret storage. */
export const CA_SECRET = "tls-ca";

const DAY_MS = 86_400_000;
/** A certificate is renewed at two thirds of its life of 90 days. */
const RENEW_BEFORE_MS = 30 * DAY_MS;
/** A CA is replaced when it could not outlive one more certificate. */
const CA_REPLACE_BEFORE_MS = 90 * DAY_MS;
/** Wall-clock checks: one long timer would overflow at 24.8 days and stand still while a laptop sleeps. */
const CHECK_MS = 3_600_000;

export interface LocalCertificatesOptions {
	readonly domain: string;
	/** Gets `ca.pem`, the public certificate for clients to trust. */
	readonly dataDir: string;
	readonly secrets: SecretStorage;
	readonly log: Logger;
}

/** Certificates of a CA that the daemon made itself. The server's own key never leaves memory: each start makes a new one. */
export class LocalCertificates implements CertificateSource {
	readonly #options: LocalCertificatesOptions;
	#authority: Authority;
	#current: KeyPair & { readonly expiresAtMs: number };
	#listener: ((pair: KeyPair) => void) | undefined;
	readonly #timer: NodeJS.Timeout;
	#renewing: Promise<void> = Promise.resolve();

	static async open(options: LocalCertificatesOptions): Promise<LocalCertificates> {
		const frozen = Object.freeze({ ...options });
		const authority = await openAuthority(frozen);
		return new LocalCertificates(frozen, authority, await authority.issue(frozen.domain, Date.now()));
	}

	private constructor(options: LocalCertificatesOptions, authority: Authority, first: LocalCertificates["current"]) {
		this.#options = options;
		this.#authority = authority;
		this.#current = first;
		this.#timer = setInterval(() => this.#check(), CHECK_MS);
		this.#timer.unref();
	}

	get current(): KeyPair & { readonly expiresAtMs: number } {
		return this.#current;
	}

	get expiresAtMs(): number {
		return this.#current.expiresAtMs;
	}

	onChange(listener: (pair: KeyPair) => void): void {
		this.#listener = listener;
	}

	async close(): Promise<void> {
		clearInterval(this.#timer);
		this.#listener = undefined;
		await this.#renewing;
	}

	#check(): void {
		if (Date.now() < this.expiresAtMs - RENEW_BEFORE_MS) return;
		this.#renewing = this.#renewing.then(() => this.#renew());
	}

	async #renew(): Promise<void> {
		const { domain, log } = this.#options;
		if (Date.now() < this.expiresAtMs - RENEW_BEFORE_MS) return;
		try {
			if (!isUsable(this.#authority, domain)) this.#authority = await openAuthority(this.#options);
			this.#current = await this.#authority.issue(domain, Date.now());
			log.info({ expires: new Date(this.expiresAtMs) }, "the TLS certificate was renewed");
			this.#listener?.(this.#current);
		} catch (error) {
			log.error({ err: error }, "the TLS certificate could not be renewed; trying again in an hour");
		}
	}
}

/** The stored CA, or a new one where there is none, it is for another domain or too old. Writes `ca.pem` either way. */
async function openAuthority({ domain, dataDir, secrets, log }: LocalCertificatesOptions): Promise<Authority> {
	// Loaded here because it takes 140 ms, which a daemon with a certificate of its own need not spend.
	const { Authority } = await import("./authority.js");
	const stored = await secrets.get(CA_SECRET);
	let authority = stored === undefined ? undefined : await Authority.fromPem(stored);
	if (!authority || !isUsable(authority, domain)) {
		if (stored !== undefined)
			log.warn("the stored local CA is for another domain, expired or damaged: clients must trust the new one");
		authority = await Authority.create(domain, Date.now());
		await secrets.set(CA_SECRET, authority.toPem());
	}
	await mkdir(dataDir, { recursive: true, mode: 0o700 });
	await publish(join(dataDir, "ca.pem"), authority.certPem);
	return authority;
}

function isUsable(authority: Authority, domain: string): boolean {
	return authority.serves(domain) && authority.expiresAtMs > Date.now() + CA_REPLACE_BEFORE_MS;
}

async function publish(path: string, content: string): Promise<void> {
	const old = await readFile(path, "utf8").catch(() => undefined);
	if (old === content) return;
	const fresh = `${path}.new`;
	await writeFile(fresh, content, { mode: 0o644 });
	await rename(fresh, path);
}
