import type { Socket } from "node:net";
import type { Logger } from "pino";
import ssh2 from "ssh2";
import type { AuditSink } from "../../audit/index.js";
import type { GatewayDirectory } from "../../devboxes/index.js";
import { connectToSshd } from "../login.js";
import type { GatewayAccess } from "./access.js";
import { Admission, type GatewayLimits } from "./admission.js";
import { GatewayConnection } from "./connection.js";
import { disconnectReasons } from "./messages.js";
import { socketOf } from "./packets.js";
import { ident, refuse } from "./refusal.js";

export interface GatewayOptions {
	readonly directory: GatewayDirectory;
	readonly access: GatewayAccess;
	/** See `HostKeys`. */
	readonly hostKeys: readonly string[];
	readonly limits: GatewayLimits;
	/** Somebody must have logged in after so long. */
	readonly loginGraceMs: number;
	/** A connection without a byte either way for so long is closed. */
	readonly idleTimeoutMs: number;
	readonly audit: AuditSink;
	readonly log: Logger;
	/** Opens the connection to a box's sshd; for tests. */
	readonly connect?: (address: string) => Socket;
}

/** Idle clocks are looked at this often: one timer for all connections. */
const tickMs = 1_000;
/** What was withdrawn somewhere that told nobody is found out so soon. */
const recheckMs = 4_000;

/** Elliptic curves only: finite-field groups cost a flood of half handshakes much more of our time than of its own. */
const keyExchanges = [
	"curve25519-sha256",
	"curve25519-sha256@libssh.org",
	"ecdh-sha2-nistp256",
	"ecdh-sha2-nistp384",
	"ecdh-sha2-nistp521",
] as const;

/** The SSH server that ends its users' connections: their own keys, the devbox by its username. */
export class Gateway {
	readonly #options: GatewayOptions;
	readonly #admission: Admission;
	readonly #server: ssh2.Server;
	readonly #connections = new Set<GatewayConnection>();
	readonly #bySocket = new WeakMap<Socket, GatewayConnection>();
	/** Run only while there are connections. */
	#timers: NodeJS.Timeout[] = [];
	#rechecking = false;
	#whenEmpty: (() => void) | undefined;
	#closing: Promise<void> | undefined;

	constructor(options: GatewayOptions) {
		this.#options = Object.freeze({ ...options });
		this.#admission = new Admission(options.limits);
		this.#server = new ssh2.Server(
			{
				hostKeys: [...options.hostKeys],
				ident,
				algorithms: { kex: [...keyExchanges], compress: ["none"] },
				// Never: the box's own sshd and the client ask each other whether they are there.
				keepaliveInterval: 2_147_483_647,
			},
			(connection) => this.#bySocket.get(socketOf(connection))?.attach(connection),
		);
	}

	/** Open connections, those included on which nobody has logged in. */
	get connections(): number {
		return this.#connections.size;
	}

	/** Takes a client's connection over, nothing of it read yet. Never throws. `address` is the peer's. */
	handle(socket: Socket, address: string): void {
		if (this.#closing) {
			socket.destroy();
			return;
		}
		const excess = this.#admission.enter(address);
		if (excess !== undefined) {
			this.#options.log.info({ address, reason: excess }, "an SSH connection was refused");
			refuse(socket, `${excess}, try again later`);
			return;
		}
		const { connect = connectToSshd, limits } = this.#options;
		const connection = new GatewayConnection(socket, address, {
			...this.#options,
			connect,
			admission: this.#admission,
			maxSessions: limits.connectionSessions,
		});
		this.#connections.add(connection);
		this.#bySocket.set(socket, connection);
		socket.once("close", () => this.#ended(connection));
		this.#startTimers();
		this.#server.injectSocket(socket);
	}

	/** Ends every connection to a devbox: it stopped. */
	drop(devboxId: string): void {
		for (const connection of this.#connections) {
			if (connection.grant?.devboxId === devboxId) connection.boxStopped();
		}
	}

	/** Ends what a user may not have open any more: a key, a membership or a role is not what it was. */
	recheck(userId: string): void {
		for (const connection of this.#connections) {
			if (connection.grant?.userId === userId) this.#recheck(connection);
		}
	}

	/** Takes no more clients, lets those there are end by themselves for so long, then ends them. Twice is fine. */
	close({ graceMs }: { readonly graceMs: number }): Promise<void> {
		this.#closing ??= this.#close(graceMs);
		return this.#closing;
	}

	async #close(graceMs: number): Promise<void> {
		if (this.#connections.size === 0) return;
		const empty = new Promise<void>((resolve) => {
			this.#whenEmpty = resolve;
		});
		const deadline = setTimeout(() => {
			for (const connection of this.#connections) {
				connection.end(disconnectReasons.byApplication, "the gateway is stopping");
			}
		}, graceMs);
		await empty;
		clearTimeout(deadline);
	}

	#startTimers(): void {
		if (this.#timers.length > 0) return;
		this.#timers = [
			setInterval(() => this.#look(), tickMs).unref(),
			setInterval(() => void this.#recheckAll(), recheckMs).unref(),
		];
	}

	#look(): void {
		const nowMs = performance.now();
		for (const connection of this.#connections) connection.look(nowMs, this.#options.idleTimeoutMs);
	}

	/** One after another: they all ask the store. */
	async #recheckAll(): Promise<void> {
		if (this.#rechecking) return;
		this.#rechecking = true;
		for (const connection of this.#connections) await this.#recheck(connection);
		this.#rechecking = false;
	}

	/** Who cannot be asked about is not cut off for it: new sessions are refused meanwhile. */
	async #recheck(connection: GatewayConnection): Promise<void> {
		try {
			await connection.recheck();
		} catch (error) {
			this.#options.log.error({ err: error }, "an SSH connection's rights could not be looked up");
		}
	}

	#ended(connection: GatewayConnection): void {
		this.#connections.delete(connection);
		if (this.#connections.size > 0) return;
		for (const timer of this.#timers) clearInterval(timer);
		this.#timers = [];
		this.#whenEmpty?.();
	}
}
