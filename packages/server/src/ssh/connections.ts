import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { SshAccessDirectory } from "../devboxes/index.js";
import { SshClient } from "./client.js";
import { connectToSshd } from "./login.js";

export interface SshConnectionsOptions {
	readonly directory: SshAccessDirectory;
	/** A connection that carries nothing for so long is closed. Default: a minute. */
	readonly idleTimeoutMs?: number;
	/** Opens the connection to a box's sshd; for tests. */
	readonly connect?: (address: string) => Socket;
}

/** The daemon's own SSH connections: one to each devbox that something is wanted of, made when it is. */
export class SshConnections {
	readonly #options: Required<SshConnectionsOptions>;
	readonly #clients = new Map<string, SshClient>();

	constructor(options: SshConnectionsOptions) {
		this.#options = Object.freeze({ idleTimeoutMs: 60_000, connect: connectToSshd, ...options });
	}

	/** See `SshClient.openTcp`. */
	openTcp(devboxId: string, host: string, port: number): Duplex {
		return this.#client(devboxId).openTcp(host, port);
	}

	/** Ends what is open to a devbox: it stopped. */
	drop(devboxId: string): void {
		this.#clients.get(devboxId)?.close();
	}

	/** Twice is fine. */
	close(): void {
		for (const client of this.#clients.values()) client.close();
	}

	#client(devboxId: string): SshClient {
		const open = this.#clients.get(devboxId);
		if (open) return open;
		const { directory, connect, idleTimeoutMs } = this.#options;
		const client = new SshClient({
			access: directory.sshAccess(devboxId),
			connect,
			idleTimeoutMs,
			closed: () => this.#clients.delete(devboxId),
		});
		this.#clients.set(devboxId, client);
		return client;
	}
}
