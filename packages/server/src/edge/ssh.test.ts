import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls, type SecureContextOptions, type TLSSocket } from "node:tls";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { noAudit } from "../audit/audit.fixture.js";
import type { SshTarget } from "../devboxes/index.js";
import { Passthrough } from "../ssh/index.js";
import { Edge, LocalCertificates, Names } from "./index.js";

const log = pino({ level: "silent" });
const domain = "gangway.localhost";
const sni = `dbx-a.ssh.${domain}`;
const SIZE = 50 * 1_048_576;

let dir: string;
let certificates: LocalCertificates;
let sshd: Server;
let passthrough: Passthrough;
let edge: Edge;
let tlsPort: number;

beforeEach(async () => {
	dir = mkdtempSync(join(tmpdir(), "gangway-ssh-"));
	const secrets = { get: async () => undefined, set: async () => {} };
	certificates = await LocalCertificates.open({ domain, dataDir: dir, secrets, log });
	sshd = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
	await once(sshd, "listening");
	const { port } = sshd.address() as { port: number };
	const box: SshTarget = { devboxId: "dbx_a", status: "running", address: "127.0.0.1", wakes: false };
	passthrough = new Passthrough({
		directory: {
			lookupLabel: async (label) => (label === "dbx-a" ? box : undefined),
			awaitRunning: async () => box,
			activity: () => {},
		},
		idleTimeoutMs: 900_000,
		audit: noAudit,
		log,
		connect: (host) => connectTcp({ host, port, allowHalfOpen: true, noDelay: true }),
	});
	const unused = () => {};
	edge = new Edge({
		names: new Names({ domain, apiHosts: [] }),
		bind: ["127.0.0.1"],
		tlsPort: 0,
		httpPort: 0,
		sshPort: 0,
		httpMode: "serve",
		certificates,
		handlers: {
			api: unused,
			tunnel: { accept: unused, stream: unused },
			passthrough: (label, socket) => passthrough.handle(label, socket),
			gateway: unused,
		},
		log,
	});
	({ tlsPort } = await edge.listen());
});
afterEach(async () => {
	await Promise.all([edge.close({ graceMs: 0 }), passthrough.close({ graceMs: 0 }), certificates.close()]);
	sshd.close();
	rmSync(dir, { recursive: true, force: true });
});

/** The ProxyCommand of the documentation. */
function openssl(servername = sni) {
	const args = ["s_client", "-quiet", "-servername", servername, "-connect", `127.0.0.1:${tlsPort}`];
	const child = spawn("openssl", args, { stdio: ["pipe", "pipe", "ignore"] });
	child.stdin.on("error", () => {});
	onTestFinished(() => void child.kill());
	return child;
}

async function accepted(): Promise<Socket> {
	return (await once(sshd, "connection"))[0];
}

async function hash(from: AsyncIterable<Buffer>, bytes = Number.POSITIVE_INFINITY): Promise<string> {
	const sum = createHash("sha256");
	let left = bytes;
	for await (const chunk of from) {
		sum.update(chunk);
		left -= chunk.length;
		if (left <= 0) break;
	}
	return sum.digest("hex");
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function dial(options: SecureContextOptions = {}): Promise<{ client: TLSSocket; box: Socket }> {
	const ca = readFileSync(join(dir, "ca.pem"));
	// The types do not know that tls.connect() takes the options of net.Socket too.
	const target: ConnectionOptions & { allowHalfOpen: boolean } = {
		port: tlsPort,
		host: "127.0.0.1",
		allowHalfOpen: true,
	};
	const client = connectTls({ ...target, servername: sni, ca, ...options });
	client.on("error", () => {});
	onTestFinished(() => void client.destroy());
	const [box] = await Promise.all([accepted(), once(client, "secureConnect")]);
	return { client, box };
}

describe("openssl s_client", () => {
	test("50 MB each way are exact, and the box's end ends it", async () => {
		const up = randomBytes(SIZE);
		const down = randomBytes(SIZE);
		const waiting = accepted();
		const child = openssl();
		const box = await waiting;
		child.stdin.write(up);
		box.write(down);
		const [atBox, atClient] = await Promise.all([
			hash(box.iterator({ destroyOnReturn: false }), SIZE),
			hash(child.stdout.iterator({ destroyOnReturn: false }), SIZE),
		]);
		expect(atBox).toBe(sha256(up));
		expect(atClient).toBe(sha256(down));
		box.end();
		const [code] = await once(child, "close");
		expect(code).toBe(0);
	});

	test("an unknown label is closed without a word", async () => {
		const child = openssl(`dbx-none.ssh.${domain}`);
		expect(await hash(child.stdout)).toBe(sha256(Buffer.alloc(0)));
		await once(child, "close");
		expect(passthrough.sessions).toBe(0);
	});
});

describe.each(["TLSv1.2", "TLSv1.3"] as const)("half-closes over %s", (version) => {
	const options = { minVersion: version, maxVersion: version };

	test("the box answers a client that has ended its side", async () => {
		const { client, box } = await dial(options);
		const file = randomBytes(SIZE / 10);
		client.end(file);
		expect(await hash(box.iterator({ destroyOnReturn: false }))).toBe(sha256(file));
		box.end(file);
		expect(await hash(client)).toBe(sha256(file));
	});

	test("the client goes on after the box has ended its side", async () => {
		const { client, box } = await dial(options);
		const file = randomBytes(SIZE / 10);
		box.end(file);
		expect(await hash(client.iterator({ destroyOnReturn: false }))).toBe(sha256(file));
		client.end(file);
		expect(await hash(box)).toBe(sha256(file));
	});
});

test("a closing edge lets sessions finish", async () => {
	const { client, box } = await dial();
	const closed = Promise.all([edge.close({ graceMs: 60_000 }), passthrough.close({ graceMs: 60_000 })]);
	box.end("last words");
	expect(await hash(client)).toBe(sha256(Buffer.from("last words")));
	client.end();
	await closed;
	expect(edge.connections().passthrough).toBe(0);
});
