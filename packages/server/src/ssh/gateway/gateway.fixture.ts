import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import pino from "pino";
import { Client, type ConnectConfig } from "ssh2";
import { onTestFinished, vi } from "vitest";
import type { SshKeyOwner } from "../../accounts/index.js";
import { listeningAudit } from "../../audit/audit.fixture.js";
import { type GatewayDirectory, type GatewayTarget, publicKeyBlob } from "../../devboxes/index.js";
import { generateEcdsaKeyPair } from "../../devboxes/keys.js";
import { type Sshd, startSshd } from "../sshd.fixture.js";
import { Gateway, type GatewayOptions } from "./index.js";

export const devboxId = "dbx_00000000000000000000000000";

const [userKey, strangeKey, hostKey] = await Promise.all([1, 2, 3].map(generateEcdsaKeyPair));

/** A key that nobody has uploaded. */
export const strangersKey = strangeKey!.privateKeyPem;

const noLimits = { addressRate: 0, addressFailures: 0, userConnections: 0, connectionSessions: 0 };

const farewells = new WeakMap<Client, Promise<string>>();

/** What the server says as it ends a client's connection. */
export function farewell(client: Client): Promise<string> {
	return farewells.get(client)!;
}

/** A gateway on a port, one devbox that is a real sshd, one user with a key; all of it ends with the test. */
export class World {
	readonly audit = listeningAudit();
	/** What the registers say; to be changed. */
	owner: SshKeyOwner | undefined = { sshKeyId: "sshk_a", userId: "usr_a", publicKeyLine: "" };
	role: "admin" | "member" | "viewer" | undefined = "member";
	devbox: GatewayTarget | undefined = { teamId: "team_a", status: "running", resumes: true };
	awaitRunning: GatewayDirectory["awaitRunning"] = async () => undefined;
	readonly activity = vi.fn();
	readonly roleIn = vi.fn(async () => this.role);
	readonly sshd: Sshd;
	readonly gateway: Gateway;
	readonly port: number;

	private constructor(sshd: Sshd, port: number, options: Partial<GatewayOptions>) {
		this.sshd = sshd;
		this.port = port;
		this.gateway = new Gateway({
			directory: {
				lookupDevbox: async (id) => (id === devboxId ? this.devbox : undefined),
				awaitRunning: (id, signal) => this.awaitRunning(id, signal),
				sshAccess: async () => sshd.access,
				activity: this.activity,
			},
			access: {
				findSshKey: async (_, blob) => (blob.equals(publicKeyBlob(userKey!.publicKey)) ? this.owner : undefined),
				roleIn: this.roleIn,
			},
			hostKeys: [hostKey!.privateKeyPem],
			limits: noLimits,
			loginGraceMs: 30_000,
			idleTimeoutMs: 900_000,
			audit: this.audit,
			log: pino({ level: "silent" }),
			connect: sshd.connect,
			...options,
		});
	}

	static async start(options: Partial<GatewayOptions> = {}): Promise<World> {
		const sshd = await startSshd();
		const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
			world.gateway.handle(socket, "127.0.0.1");
		});
		server.listen(0, "127.0.0.1");
		await once(server, "listening");
		const world = new World(sshd, (server.address() as AddressInfo).port, options);
		onTestFinished(async () => {
			server.close();
			await world.gateway.close({ graceMs: 0 });
		});
		return world;
	}

	/** A TCP connection to it. */
	dial(): Socket {
		const socket = connect({ port: this.port, host: "127.0.0.1" });
		socket.on("error", () => {});
		onTestFinished(() => void socket.destroy());
		return socket;
	}

	/** A client of ssh2; rejects when it does not get in. */
	async logIn(options: ConnectConfig = {}): Promise<Client> {
		const client = new Client();
		let debug = (_line: string) => {};
		farewells.set(
			client,
			new Promise((resolve) => {
				debug = (line) => {
					const said = /Received DISCONNECT \(\d+, "(.*)"\)/.exec(line);
					if (said) resolve(said[1]!);
				};
			}),
		);
		onTestFinished(() => void client.destroy());
		const ready = once(client, "ready");
		const closed = once(client, "close").then(() => Promise.reject(new Error("closed")));
		closed.catch(() => {});
		client.connect({
			sock: this.dial(),
			username: devboxId,
			privateKey: userKey!.privateKeyPem,
			strictVendor: false,
			debug,
			...options,
		});
		await Promise.race([ready, closed]);
		client.on("error", () => {});
		return client;
	}
}

/** Everything that comes until the other side hangs up. */
export async function readAll(socket: Socket): Promise<Buffer> {
	const chunks: Buffer[] = [];
	socket.on("data", (chunk: Buffer) => chunks.push(chunk));
	await once(socket, "close");
	return Buffer.concat(chunks);
}
