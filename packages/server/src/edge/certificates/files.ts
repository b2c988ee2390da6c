import { createPrivateKey, X509Certificate } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readFile, realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
import type { Logger } from "pino";
import { SettingError } from "../../errors.js";
import type { CertificateSource, KeyPair } from "./source.js";

/** Certificate and key are two files: wait until whoever replaces them has probably done both. */
const SETTLE_MS = 100;
/** Network file systems give no events, and a directory that was itself replaced is watched no more. */
const POLL_MS = 60_000;
const DAY_MS = 86_400_000;
const WARN_BEFORE_MS = 14 * DAY_MS;

export interface CertificateFilesOptions {
	/** PEM: the certificate first, then its chain. */
	readonly certPath: string;
	readonly keyPath: string;
	readonly log: Logger;
}

interface Loaded extends KeyPair {
	readonly expiresAtMs: number;
}

/**
 * Certificates from PEM files, read again when they change, however they are replaced: in place, by rename, or by the
 * symlinks of certbot and Kubernetes. A pair that does not fit together is logged and the old one stays.
 */
export class CertificateFiles implements CertificateSource {
	readonly #options: CertificateFilesOptions;
	#current: Loaded;
	#listener: ((pair: KeyPair) => void) | undefined;
	#watchers = new Map<string, FSWatcher>();
	#settle: NodeJS.Timeout | undefined;
	readonly #poll: NodeJS.Timeout;
	#work: Promise<void> = Promise.resolve();
	#closed = false;
	#complaint = "";
	#warnedAtMs = 0;

	/** @throws {SettingError} when the files cannot be used. */
	static async open(options: CertificateFilesOptions): Promise<CertificateFiles> {
		const frozen = Object.freeze({ ...options });
		const source = new CertificateFiles(frozen, await load(frozen));
		await source.#watch();
		source.#warnOfExpiry();
		return source;
	}

	private constructor(options: CertificateFilesOptions, first: Loaded) {
		this.#options = options;
		this.#current = first;
		this.#poll = setInterval(() => this.#reload(), POLL_MS);
		this.#poll.unref();
	}

	get current(): KeyPair {
		return this.#current;
	}

	get expiresAtMs(): number {
		return this.#current.expiresAtMs;
	}

	onChange(listener: (pair: KeyPair) => void): void {
		this.#listener = listener;
	}

	async close(): Promise<void> {
		this.#closed = true;
		clearInterval(this.#poll);
		clearTimeout(this.#settle);
		this.#listener = undefined;
		await this.#work;
		for (const watcher of this.#watchers.values()) watcher.close();
		this.#watchers.clear();
	}

	#changed(): void {
		clearTimeout(this.#settle);
		if (!this.#closed) this.#settle = setTimeout(() => this.#reload(), SETTLE_MS);
	}

	#reload(): void {
		this.#work = this.#work.then(async () => {
			if (this.#closed) return;
			await this.#replace();
			await this.#watch();
			this.#warnOfExpiry();
		});
	}

	async #replace(): Promise<void> {
		const { log } = this.#options;
		try {
			const next = await load(this.#options);
			this.#complaint = "";
			if (next.cert === this.#current.cert && next.key === this.#current.key) return;
			this.#current = next;
			log.info({ expires: new Date(next.expiresAtMs) }, "the TLS certificate was read again");
			this.#listener?.(next);
		} catch (error) {
			const complaint = (error as Error).message;
			if (complaint !== this.#complaint) log.error(`${complaint}; the old certificate stays in use`);
			this.#complaint = complaint;
		}
	}

	/** Watches the directories of both files and of what they link to. */
	async #watch(): Promise<void> {
		const wanted = new Set<string>();
		for (const path of [this.#options.certPath, this.#options.keyPath]) {
			wanted.add(dirname(path));
			const real = await realpath(path).catch(() => path);
			wanted.add(dirname(real));
		}
		for (const [directory, watcher] of this.#watchers) {
			if (!wanted.has(directory)) this.#unwatch(directory, watcher);
		}
		for (const directory of wanted) {
			if (this.#closed || this.#watchers.has(directory)) continue;
			try {
				const watcher = watch(directory, { persistent: false }, () => this.#changed());
				watcher.on("error", () => this.#unwatch(directory, watcher));
				this.#watchers.set(directory, watcher);
			} catch (error) {
				this.#options.log.warn({ err: error }, "a certificate's directory cannot be watched; looking once a minute");
			}
		}
	}

	#unwatch(directory: string, watcher: FSWatcher): void {
		watcher.close();
		if (this.#watchers.get(directory) === watcher) this.#watchers.delete(directory);
	}

	#warnOfExpiry(): void {
		const now = Date.now();
		if (now < this.expiresAtMs - WARN_BEFORE_MS || now < this.#warnedAtMs + DAY_MS) return;
		this.#warnedAtMs = now;
		const state = now < this.expiresAtMs ? "expires soon" : "has expired";
		this.#options.log.warn({ expires: new Date(this.expiresAtMs) }, `the TLS certificate ${state}`);
	}
}

async function load({ certPath, keyPath }: CertificateFilesOptions): Promise<Loaded> {
	const cert = await read("tls_cert", certPath);
	const key = await read("tls_key", keyPath);
	const leaf = attempt("tls_cert", certPath, "is not a PEM certificate", () => new X509Certificate(cert));
	const privateKey = attempt("tls_key", keyPath, "is not a PEM private key without a passphrase", () =>
		createPrivateKey(key),
	);
	if (!leaf.checkPrivateKey(privateKey)) {
		throw new SettingError("tls_key", `${keyPath} is not the key of the certificate ${certPath}`);
	}
	attempt("tls_cert", certPath, "cannot be used for TLS", () => createSecureContext({ cert, key }));
	return { cert, key, expiresAtMs: Date.parse(leaf.validTo) };
}

async function read(setting: string, path: string): Promise<string> {
	try {
		return await readFile(path, "utf8");
	} catch (error) {
		throw new SettingError(setting, `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
	}
}

function attempt<T>(setting: string, path: string, problem: string, make: () => T): T {
	try {
		return make();
	} catch {
		throw new SettingError(setting, `${path} ${problem}`);
	}
}
