/** The two ports: names, protocols, certificates, and peers that behave badly. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shell } from "./support/cli.js";
import { curl } from "./support/curl.js";
import { Daemon } from "./support/daemon.js";
import { descriptors } from "./support/host.js";
import { collect } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
/** `dbx-…` of a devbox that runs. */
let label: string;
let tunnelHost: string;
beforeAll(async () => {
	daemon = await Daemon.start({ env: { GANGWAY_API_HOSTS: "devboxes.example.com" } });
	const { id, tunnel } = await daemon.sdk().api.devboxes.createAndAwaitRunning({ tunnel: {} });
	label = id.replace("_", "-");
	tunnelHost = `8080-${tunnel!.tunnel_key}.tunnel.gangway.localhost`;
});
afterAll(() => daemon?.remove());

const http = (path: string, host = "127.0.0.1") => `http://${host}:${daemon.endpoints.http_port}${path}`;
const https = (path: string, host = "localhost") => `https://${host}:${daemon.endpoints.tls_port}${path}`;
const ca = () => ["--cacert", daemon.endpoints.ca_cert];

describe("names", () => {
	test.each([
		"api.gangway.localhost",
		"API.Gangway.Localhost",
		"gangway.localhost",
		"gangway.localhost.",
		"localhost",
		"127.0.0.1",
		"192.0.2.7",
		"[::1]",
		"devboxes.example.com",
	])("the API answers %s", async (host) => {
		for (const name of [host, `${host}:${daemon.endpoints.http_port}`]) {
			expect(await curl("-H", `Host: ${name}`, http("/healthz"))).toMatchObject({ status: 200 });
		}
	});

	test.each([
		"evil.example",
		"gangway.localhost.evil.example",
		"xgangway.localhost",
		"www.gangway.localhost",
		"ssh.gangway.localhost",
	])("%s is 421", async (host) => {
		const answer = await curl("-H", `Host: ${host}`, http("/healthz"));
		expect(answer.status).toBe(421);
		expect(JSON.parse(answer.text)).toHaveProperty("message");
	});

	test.each(["tunnel.gangway.localhost", "x.tunnel.gangway.localhost", "0-abc.tunnel.gangway.localhost"])(
		"%s is the tunnel's 404",
		async (host) => {
			const answer = await curl("-H", `Host: ${host}`, http("/healthz"));
			expect(answer.status).toBe(404);
			expect(JSON.parse(answer.text).error.code).toBe("tunnel_not_found");
		},
	);

	test("a request decides by its own Host, not by the connection's SNI", async () => {
		const answer = await curl(...ca(), "-H", "Host: evil.example", https("/healthz", "api.gangway.localhost"));
		expect(answer.status).toBe(421);
		const tunnel = await curl(...ca(), "--http2", "-H", `Host: ${tunnelHost}`, https("/", "api.gangway.localhost"));
		expect(JSON.parse(tunnel.text).error.code).toMatch(/port_starting|nothing_listening/);
	});

	test("no Host, two Hosts: 400", async () => {
		for (const hosts of ["", "Host: localhost\r\nHost: evil.example\r\n"]) {
			const socket = connect(daemon.endpoints.http_port, "127.0.0.1");
			socket.end(`GET /healthz HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`);
			expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
		}
	});
});

describe("protocols", () => {
	test.each<[string, string[], string]>([
		["HTTP/1.1 in the clear", ["--http1.1"], "1.1"],
		["h2c with prior knowledge", ["--http2-prior-knowledge"], "2"],
		["an offer to upgrade to h2c, which is not taken", ["--http2"], "1.1"],
	])("%s", async (_, flags, version) => {
		expect(await curl(...flags, http("/healthz"))).toMatchObject({ status: 200, version });
	});

	test.each<[string, string[], string]>([
		["h2", ["--http2"], "2"],
		["http/1.1", ["--http1.1"], "1.1"],
		["none", ["--no-alpn"], "1.1"],
	])("ALPN %s", async (_, flags, version) => {
		expect(await curl(...ca(), ...flags, https("/healthz"))).toMatchObject({ status: 200, version });
	});

	test("TLS before 1.2 is refused", async () => {
		await expect(
			curl(...ca(), "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", https("/healthz")),
		).rejects.toThrow();
		await expect(curl(...ca(), "--tls-max", "1.2", https("/healthz"))).resolves.toMatchObject({ status: 200 });
	});
});

describe("the local CA", () => {
	/** Which name a client asks for and checks. */
	function handshake(name: string, caFile = daemon.endpoints.ca_cert) {
		const flags = ["-verify_return_error", "-CAfile", caFile, "-verify_hostname", name, "-servername", name];
		return collect(spawn("openssl", ["s_client", "-connect", daemon.connect, ...flags]), "");
	}

	test.each<[string, () => string]>([
		["the API", () => "api.gangway.localhost"],
		["the domain", () => "gangway.localhost"],
		["localhost", () => "localhost"],
		["a tunnel", () => tunnelHost],
		["a box's SSH", () => `${label}.ssh.gangway.localhost`],
		["the gateway", () => "ssh.gangway.localhost"],
	])("vouches for %s", async (_, name) => {
		const { stdout } = await handshake(name());
		expect(stdout.toString()).toContain("Verify return code: 0 (ok)");
	});

	test("does not vouch for other names, nor may it", async () => {
		expect((await handshake("example.com")).code).not.toBe(0);
		const { stdout } = await shell(
			`openssl x509 -in '${daemon.endpoints.ca_cert}' -noout -ext nameConstraints,basicConstraints`,
		);
		expect(stdout.toString()).toMatch(/Name Constraints: critical/);
		expect(stdout.toString()).toMatch(/DNS:gangway\.localhost/);
	});

	test("stays the same over a restart", async () => {
		const before = readFileSync(daemon.endpoints.ca_cert, "utf8");
		await daemon.stop();
		await daemon.start();
		expect(readFileSync(daemon.endpoints.ca_cert, "utf8")).toBe(before);
		expect((await handshake("api.gangway.localhost")).code).toBe(0);
	});
});

describe("certificates from files", () => {
	let directory: string;
	let other: Daemon;
	beforeAll(async () => {
		directory = await mkdtemp(join(tmpdir(), "gangway-certificate-"));
		await issue("first");
		const env = { GANGWAY_TLS_CERT: join(directory, "cert.pem"), GANGWAY_TLS_KEY: join(directory, "key.pem") };
		other = await Daemon.start({ env });
	});
	afterAll(async () => {
		await other?.remove();
		await rm(directory, { recursive: true, force: true });
	});

	/** A new self-signed pair in the place of the old one. */
	async function issue(name: string): Promise<void> {
		const file = (kind: string) => join(directory, `${kind}-${name}.pem`);
		const subject = `-subj /CN=${name} -addext subjectAltName=DNS:api.gangway.localhost`;
		const made = await shell(
			`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 ${subject} -keyout ${file("key")} -out ${file("cert")}`,
		);
		expect(made.code, made.stderr).toBe(0);
		for (const kind of ["key", "cert"]) await rename(file(kind), join(directory, `${kind}.pem`));
	}

	async function served(): Promise<string> {
		const options = {
			host: "127.0.0.1",
			port: other.endpoints.tls_port,
			servername: "api.gangway.localhost",
			rejectUnauthorized: false,
		};
		const socket = connectTls(options);
		await once(socket, "secureConnect");
		const { subject } = socket.getPeerCertificate() as PeerCertificate;
		socket.destroy();
		return String(subject.CN);
	}

	test("are served, and read again when they are replaced", async () => {
		expect(other.endpoints.ca_cert).toBeNull();
		expect(await served()).toBe("first");
		await issue("second");
		await until("the new certificate is served", async () => (await served()) === "second");
	});

	test("a broken file changes nothing, and the log says so", async () => {
		const before = await served();
		await writeFile(join(directory, "cert.pem"), "broken");
		await until("the log says so", () => /tls_cert.*old certificate stays/.test(other.stderr));
		expect(await served()).toBe(before);
		await issue("third");
		await until("the new certificate is served", async () => (await served()) === "third");
	});
});

describe("bad peers", () => {
	const open = async (port: number): Promise<Socket> => {
		const socket = connect(port, "127.0.0.1");
		socket.on("error", () => {});
		await once(socket, "connect");
		return socket;
	};
	const closed = (socket: Socket) => (socket.closed ? Promise.resolve() : once(socket.resume(), "close"));

	test("a plain request to the TLS port and a TLS one to the plain port end at once", async () => {
		const plain = await open(daemon.endpoints.tls_port);
		plain.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
		await closed(plain);
		const tls = connectTls({ host: "127.0.0.1", port: daemon.endpoints.http_port, rejectUnauthorized: false });
		await expect(once(tls, "secureConnect")).rejects.toThrow();
	});

	test("SSH to a name that is no box ends without a word", async () => {
		for (const name of ["dbx-00000000000000000000000000.ssh.gangway.localhost", "nothing.ssh.gangway.localhost"]) {
			const client = spawn("openssl", ["s_client", "-quiet", "-servername", name, "-connect", daemon.connect]);
			const { stdout } = await collect(client);
			expect(stdout).toHaveLength(0);
		}
	});

	test("garbage, cut-off and half-open connections leave no descriptor behind", { timeout: 60_000 }, async () => {
		const { tls_port, http_port } = daemon.endpoints;
		await curl(http("/healthz"));
		const before = await until("the daemon is at rest", async () => {
			const count = descriptors(daemon.pid);
			const live = await curl(http("/metrics"));
			return /gangway_edge_connections\{kind="opening"\} 0/.test(live.text) && count;
		});
		/** The first bytes of a TLS ClientHello that goes on. */
		const hello = Buffer.from("1603010200010001fc0303", "hex");
		const openings: readonly (readonly [number, Buffer | string])[] = [
			[tls_port, "SSH-2.0-OpenSSH_9.2\r\n"],
			[tls_port, Buffer.alloc(4096, 0xff)],
			[tls_port, hello],
			[tls_port, ""],
			[http_port, Buffer.alloc(4096, 0xff)],
			[http_port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame"],
			[http_port, "PRI * HTT"],
			[http_port, ""],
		];
		const sockets: Socket[] = [];
		// This one would be given half a minute.
		const slow = await open(http_port);
		slow.write("GET / HTTP/1.1\r\nHost: local");
		for (const [port, bytes] of [...openings, ...openings, ...openings, ...openings]) {
			const socket = await open(port);
			if (bytes.length > 0) socket.write(bytes);
			sockets.push(socket);
		}
		slow.destroy();
		// A quarter is cut, a quarter half-closed; the others stay, and it is the daemon that ends them.
		for (const socket of sockets.slice(0, openings.length)) socket.resetAndDestroy();
		for (const socket of sockets.slice(openings.length, 2 * openings.length)) socket.end();
		await Promise.all(sockets.slice(openings.length).map(closed));
		await until("the descriptors are back", () => descriptors(daemon.pid) <= before);
		expect((await curl(http("/healthz"))).status).toBe(200);
		expect((await curl(...ca(), https("/healthz"))).status).toBe(200);
	});
});
