import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { SecretStorage } from "../../store/index.js";
import { Authority } from "./authority.js";
import { CA_SECRET, LocalCertificates } from "./index.js";

const log = pino({ level: "silent" });
const DAY_MS = 86_400_000;
let dir: string;
let vault: Map<string, string>;
let secrets: SecretStorage;

beforeEach(() => {
	dir = mkdtempSync(join(tmpdir(), "gangway-ca-"));
	vault = new Map();
	secrets = { get: async (name) => vault.get(name), set: async (name, pem) => void vault.set(name, pem) };
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function open(domain = "gangway.localhost"): Promise<LocalCertificates> {
	const certificates = await LocalCertificates.open({ domain, dataDir: dir, secrets, log });
	onTestFinished(() => certificates.close());
	return certificates;
}

function write(name: string, content: string): string {
	const path = join(dir, name);
	writeFileSync(path, content);
	return path;
}

/** What openssl says to a chain of `cert` and the CA in `ca`, asked for a host name or an address. */
function opensslVerify(ca: string, cert: string, ...expected: string[]): { ok: boolean; output: string } {
	const args = ["verify", "-x509_strict", "-purpose", "sslserver", ...expected, "-CAfile", ca, write("leaf.pem", cert)];
	const { status, stdout, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
	return { ok: status === 0, output: stdout + stderr };
}

describe("the local CA", () => {
	test("signs for every name of the domain, and openssl agrees", async () => {
		const { current } = await open();
		const ca = join(dir, "ca.pem");
		const label = "8080-abcdefghijklmnopqrstuvwx27";
		const subdomains = ["api", "ssh", `${label}.tunnel`, "dbx-abc.ssh"].map((name) => `${name}.gangway.localhost`);
		for (const name of [...subdomains, "gangway.localhost", "localhost"]) {
			expect(opensslVerify(ca, current.cert, "-verify_hostname", name)).toMatchObject({ ok: true });
		}
		for (const ip of ["127.0.0.1", "::1"]) {
			expect(opensslVerify(ca, current.cert, "-verify_ip", ip)).toMatchObject({ ok: true });
		}
		expect(opensslVerify(ca, current.cert, "-verify_hostname", "example.com").ok).toBe(false);
		expect(opensslVerify(ca, current.cert, "-verify_ip", "127.0.0.2").ok).toBe(false);
	});

	test("the constraint on localhost covers what is below it, which only this machine answers", async () => {
		await open("gangway.example");
		const authority = await Authority.fromPem(vault.get(CA_SECRET)!);
		const other = await authority!.issue("other.localhost", Date.now());
		expect(opensslVerify(join(dir, "ca.pem"), other.cert).ok).toBe(true);
	});

	test("its shape: P-256, pathlen 0, critical name constraints, ten years; leaf of ninety days", async () => {
		const { current } = await open("boxes.example");
		const text = execFileSync("openssl", ["x509", "-noout", "-text", "-in", join(dir, "ca.pem")], { encoding: "utf8" });
		expect(text).toMatch(/ASN1 OID: prime256v1/);
		expect(text).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
		expect(text).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign/);
		expect(text).toMatch(
			/Name Constraints: critical\s+Permitted:\s+DNS:boxes.example\s+DNS:localhost\s+IP:127.0.0.1\/255.255.255.255\s+IP:0:0:0:0:0:0:0:1\/FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF\s+X509v3/,
		);
		const days = (pem: string) => (Date.parse(new X509Certificate(pem).validTo) - Date.now()) / DAY_MS;
		expect(Math.round(days(readFileSync(join(dir, "ca.pem"), "utf8")))).toBe(3650);
		expect(Math.round(days(current.cert))).toBe(90);
		expect(new X509Certificate(current.cert).checkPrivateKey(createPrivateKey(current.key))).toBe(true);
	});

	test.each(["example.com", "www.example.com", "evilgangway.example"])(
		"a certificate for %s signed by it is refused",
		async (name) => {
			await open("gangway.example");
			const authority = await Authority.fromPem(vault.get(CA_SECRET)!);
			const stolen = await authority!.issue(name, Date.now());
			const { ok, output } = opensslVerify(join(dir, "ca.pem"), stolen.cert);
			expect(ok).toBe(false);
			expect(output).toMatch(/permitted subtree violation/);
		},
	);

	test("curl trusts a server that uses it", async () => {
		const { current } = await open();
		const server = createServer(current, (socket) => {
			socket.on("error", () => {});
			socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
		});
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		onTestFinished(() => void server.close());
		const { port } = server.address() as { port: number };
		const curl = (url: string) => {
			const child = spawn("curl", ["-sS", "--cacert", join(dir, "ca.pem"), "-o", "/dev/null", url], {
				stdio: "ignore",
			});
			return new Promise((resolve) => child.on("close", resolve));
		};
		expect(await curl(`https://api.gangway.localhost:${port}/`)).toBe(0);
		expect(await curl(`https://127.0.0.1:${port}/`)).toBe(0);
		expect(await curl(`https://127.0.0.2:${port}/`)).not.toBe(0);
	});
});

describe("keeping it", () => {
	test("ca.pem is public and holds no key; only the secret storage does", async () => {
		await open();
		expect(readdirSync(dir)).toEqual(["ca.pem"]);
		const published = readFileSync(join(dir, "ca.pem"), "utf8");
		expect(published).not.toMatch(/PRIVATE/);
		expect(statSync(join(dir, "ca.pem")).mode & 0o777).toBe(0o644 & ~process.umask());
		expect(vault.get(CA_SECRET)).toMatch(/PRIVATE KEY/);
	});

	test("the next start has the same CA and another leaf, and repairs ca.pem", async () => {
		const first = await open();
		const published = readFileSync(join(dir, "ca.pem"), "utf8");
		writeFileSync(join(dir, "ca.pem"), "damaged");
		const second = await open();
		expect(readFileSync(join(dir, "ca.pem"), "utf8")).toBe(published);
		expect(second.current.key).not.toBe(first.current.key);
		expect(opensslVerify(join(dir, "ca.pem"), second.current.cert).ok).toBe(true);
	});

	test.each(["other.example", "localhost"])("a changed domain (%s) makes a new CA", async (domain) => {
		await open();
		const { current } = await open(domain);
		expect(opensslVerify(join(dir, "ca.pem"), current.cert, "-verify_hostname", domain)).toMatchObject({ ok: true });
	});

	test("a damaged secret makes a new CA", async () => {
		vault.set(CA_SECRET, "nonsense");
		const { current } = await open();
		expect(opensslVerify(join(dir, "ca.pem"), current.cert).ok).toBe(true);
	});
});

describe("renewal", () => {
	beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] }));
	afterEach(() => void vi.useRealTimers());

	test("at two thirds of the certificate's life", async () => {
		const certificates = await open();
		const first = certificates.current;
		const renewed = new Promise<string>((resolve) => certificates.onChange((pair) => resolve(pair.cert)));
		vi.advanceTimersByTime(59 * DAY_MS);
		expect(certificates.current).toBe(first);
		vi.advanceTimersByTime(1.1 * DAY_MS);
		expect(await renewed).toBe(certificates.current.cert);
		expect(certificates.expiresAtMs).toBeGreaterThan(Date.now() + 89 * DAY_MS);
		expect(readFileSync(join(dir, "ca.pem"), "utf8")).toBe((await Authority.fromPem(vault.get(CA_SECRET)!))!.certPem);
	});

	test("a CA that would end before its certificate is replaced", async () => {
		await open();
		const old = vault.get(CA_SECRET);
		vi.setSystemTime(Date.now() + 3570 * DAY_MS);
		await open();
		expect(vault.get(CA_SECRET)).not.toBe(old);
	});
});
