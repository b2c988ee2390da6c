import type { SftpWatch } from "./sftp-watch.js";

/** One channel between a client and its box. */
export interface Channel {
	/** `session`, `direct-tcpip`, `auth-agent@openssh.com` … */
	readonly kind: string;
	readonly openedBy: "client" | "box";
	/** Where a forward leads; what a session runs: `shell`, `exec`, `sftp` or another subsystem. */
	purpose: string;
	/** Its number at the client; of one that the box opens, known once the client has confirmed it. */
	clientId: number | undefined;
	boxId: number | undefined;
	/** A forward that stands, a session that was told what to run. */
	isOpen: boolean;
	readonly openedAtMs: number;
	bytesFromClient: number;
	bytesToClient: number;
	sftp: SftpWatch | undefined;
}

/** The channels of a connection, by the numbers that both ends have given them. */
export class Channels {
	readonly #byClientId = new Map<number, Channel>();
	readonly #byBoxId = new Map<number, Channel>();
	#sessions = 0;

	get size(): number {
		return Math.max(this.#byClientId.size, this.#byBoxId.size);
	}

	get sessions(): number {
		return this.#sessions;
	}

	/** By the number that messages to the client have. */
	ofClient(clientId: number): Channel | undefined {
		return this.#byClientId.get(clientId);
	}

	/** By the number that messages to the box have. */
	ofBox(boxId: number): Channel | undefined {
		return this.#byBoxId.get(boxId);
	}

	/** One that somebody wants to open, under the number at whoever that is. */
	add(openedBy: Channel["openedBy"], id: number, kind: string, purpose: string): void {
		const channel: Channel = {
			kind,
			openedBy,
			purpose,
			clientId: openedBy === "client" ? id : undefined,
			boxId: openedBy === "box" ? id : undefined,
			isOpen: false,
			openedAtMs: performance.now(),
			bytesFromClient: 0,
			bytesToClient: 0,
			sftp: undefined,
		};
		(openedBy === "client" ? this.#byClientId : this.#byBoxId).set(id, channel);
		if (kind === "session") this.#sessions++;
	}

	/** The other end has agreed, and has given it a number of its own. */
	confirm(channel: Channel, otherId: number): void {
		if (channel.openedBy === "client") {
			channel.boxId = otherId;
			this.#byBoxId.set(otherId, channel);
		} else {
			channel.clientId = otherId;
			this.#byClientId.set(otherId, channel);
		}
	}

	remove(channel: Channel): void {
		if (channel.clientId !== undefined) this.#byClientId.delete(channel.clientId);
		if (channel.boxId !== undefined) this.#byBoxId.delete(channel.boxId);
		if (channel.kind === "session") this.#sessions--;
	}

	/** Takes them all out. */
	clear(): Channel[] {
		const all = new Set([...this.#byClientId.values(), ...this.#byBoxId.values()]);
		this.#byClientId.clear();
		this.#byBoxId.clear();
		this.#sessions = 0;
		return [...all];
	}
}
