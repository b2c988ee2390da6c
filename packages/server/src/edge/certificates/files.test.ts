import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { ConfigError } from "../../errors.js";
import { Authority } from "./authority.js";
import { CertificateFiles, type KeyPair } from "./index.js";

let authority: Authority;
let one: KeyPair;
let two: KeyPair;
let dir: string;
let lines: string[];
let logged: () => void;
function write(line: string): void {
	lines.push(line);
	logged();
}
const log = pino({ level: "info" }, { write });

beforeAll(async () => {
	authority = await Authority.create("a.example", Date.now());
	one = await authority.issue("a.example", Date.now());
	two = await authority.issue("a.example", Date.now());
});
beforeEach(() => {
	dir = mkdtempSync(join(tmpdir(), "gangway-tls-"));
	lines = [];
	logged = () => {};
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const certPath = () => join(dir, "tls.crt");
const keyPath = () => join(dir, "tls.key");

function put(pair: KeyPair, into = dir): void {
	writeFileSync(join(into, "tls.crt"), pair.cert);
	writeFileSync(join(into, "tls.key"), pair.key);
}

async function open(): Promise<CertificateFiles> {
	const files = await CertificateFiles.open({ certPath: certPath(), keyPath: keyPath(), log });
	onTestFinished(() => files.close());
	return files;
}

const changed = (files: CertificateFiles) => new Promise<KeyPair>((resolve) => files.onChange(resolve));
function complained(): Promise<void> {
	return new Promise((resolve) => {
		logged = resolve;
	});
}

describe("replaced certificates", () => {
	test.each([
		["certificate first", ["cert", "key"]],
		["key first", ["key", "cert"]],
	] as const)("in place, %s, with time between them", async (_order, parts) => {
		put(one);
		const files = await open();
		const path = { cert: certPath(), key: keyPath() };
		const complaint = complained();
		writeFileSync(path[parts[0]], two[parts[0]]);
		await complaint;
		expect(lines.join()).toMatch(/the old certificate stays in use/);
		expect(files.current.cert).toBe(one.cert);
		const change = changed(files);
		writeFileSync(path[parts[1]], two[parts[1]]);
		expect(await change).toMatchObject(two);
		expect(files.current).toMatchObject(two);
	});

	test("by rename", async () => {
		put(one);
		const files = await open();
		const change = changed(files);
		for (const part of ["cert", "key"] as const) {
			writeFileSync(join(dir, "fresh"), two[part]);
			renameSync(join(dir, "fresh"), part === "cert" ? certPath() : keyPath());
		}
		expect((await change).cert).toBe(two.cert);
	});

	test("a Kubernetes secret: the directory that both files are linked through is swapped, twice", async () => {
		for (const [name, pair] of [
			["..1", one],
			["..2", two],
			["..3", one],
		] as const) {
			mkdirSync(join(dir, name));
			put(pair, join(dir, name));
		}
		symlinkSync("..1", join(dir, "..data"));
		symlinkSync("..data/tls.crt", certPath());
		symlinkSync("..data/tls.key", keyPath());
		const files = await open();
		for (const [name, pair] of [
			["..2", two],
			["..3", one],
		] as const) {
			const change = changed(files);
			symlinkSync(name, join(dir, "..fresh"));
			renameSync(join(dir, "..fresh"), join(dir, "..data"));
			expect((await change).cert).toBe(pair.cert);
		}
	});

	test("certbot: links into an archive directory, which is also watched", async () => {
		const [live, archive] = [join(dir, "live"), join(dir, "archive")];
		mkdirSync(live);
		mkdirSync(archive);
		put(one, archive);
		symlinkSync("../archive/tls.crt", join(live, "tls.crt"));
		symlinkSync("../archive/tls.key", join(live, "tls.key"));
		const files = await CertificateFiles.open({ certPath: join(live, "tls.crt"), keyPath: join(live, "tls.key"), log });
		onTestFinished(() => files.close());
		let change = changed(files);
		put(two, archive);
		expect((await change).cert).toBe(two.cert);
		change = changed(files);
		writeFileSync(join(archive, "tls2.crt"), one.cert);
		writeFileSync(join(archive, "tls2.key"), one.key);
		for (const name of ["tls.crt", "tls.key"]) {
			symlinkSync(`../archive/${name.replace(".", "2.")}`, join(live, "fresh"));
			renameSync(join(live, "fresh"), join(live, name));
		}
		expect((await change).cert).toBe(one.cert);
	});

	test("without events (network file systems), once a minute", async () => {
		vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
		onTestFinished(() => void vi.useRealTimers());
		put(one);
		const files = await open();
		// The watched directory is gone; another one stands in its place.
		renameSync(dir, `${dir}.old`);
		cpSync(`${dir}.old`, dir, { recursive: true });
		rmSync(`${dir}.old`, { recursive: true });
		put(two);
		const change = changed(files);
		vi.advanceTimersByTime(60_000);
		expect((await change).cert).toBe(two.cert);
	});

	test("a missing or broken file is logged once and the old pair stays", async () => {
		put(one);
		const files = await open();
		let complaint = complained();
		rmSync(certPath());
		await complaint;
		complaint = complained();
		writeFileSync(certPath(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
		await complaint;
		expect(lines[0]).toMatch(/cannot be read \(ENOENT\)/);
		expect(lines[1]).toMatch(/is not a PEM certificate/);
		expect(files.current).toMatchObject(one);
		expect(lines.join()).not.toContain("PRIVATE");
	});
});

describe("at the start", () => {
	test("wrong files stop it, with the setting's name", async () => {
		await expect(open()).rejects.toThrow(/^tls_cert: .*tls.crt cannot be read \(ENOENT\)$/);
		put({ ...one, key: two.key });
		await expect(open()).rejects.toThrow(/^tls_key: .* is not the key of the certificate/);
		put({ ...one, key: "x" });
		await expect(open()).rejects.toThrow(/^tls_key: .* is not a PEM private key/);
		put({ ...one, cert: "x" });
		await expect(open()).rejects.toBeInstanceOf(ConfigError);
	});

	test("a certificate near its end is warned of", async () => {
		const old = await authority.issue("a.example", Date.now() - 80 * 86_400_000);
		put(old);
		const files = await open();
		expect(files.expiresAtMs).toBe(old.expiresAtMs);
		expect(lines.join()).toMatch(/expires soon/);
	});

	test("closing twice is fine, and nothing is reported afterwards", async () => {
		put(one);
		const files = await open();
		await files.close();
		await files.close();
		expect(readFileSync(certPath(), "utf8")).toBe(files.current.cert);
	});
});
