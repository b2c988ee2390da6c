import { connect as connectTcp, type Socket } from "node:net";
import type { Logger } from "pino";
import type { AuditSink } from "../audit/index.js";
import type { SshDirectory, SshTarget } from "../devboxes/index.js";
import { PassthroughSession } from "./passthrough-session.js";

const SSH_PORT = 22;
/** So long may a suspended box take to wake while its client is held. */
const WAKE_MS = 60_000;
const CONNECT_MS = 10_000;
/** Idle clocks are looked at this often: one timer for all sessions. */
const TICK_MS = 1_000;

export interface PassthroughOptions {
	readonly directory: SshDirectory;
	/** A session without a byte in either direction for so long is closed. */
	readonly idleTimeoutMs: number;
	/** Told of each session to a devbox when it ends. */
	readonly audit: AuditSink;
	readonly log: Logger;
	/** Opens the connection to a box's sshd; for tests. */
	readonly connect?: (address: string) => Socket;
}

/** SSH wrapped in TLS: bytes between a client and the sshd of the box that its SNI named. Nothing here reads SSH. */
export class Passthrough {
	readonly #options: PassthroughOptions;
	readonly #connect: (address: string) => Socket;
	readonly #sessions = new Set<PassthroughSession>();
	readonly #byDevbox = new Map<string, Set<PassthroughSession>>();
	/** Runs only while there are sessions. */
	#timer: NodeJS.Timeout | undefined;
	#whenEmpty: (() => void) | undefined;
	#closing: Promise<void> | undefined;

	constructor(options: PassthroughOptions) {
		this.#options = Object.freeze({ ...options });
		this.#connect = options.connect ?? ((address) => connectTcp({ host: address, port: SSH_PORT, ...SOCKET_OPTIONS }));
	}

	/** Open sessions, those included whose box is still waking. */
	get sessions(): number {
		return this.#sessions.size;
	}

	/** Takes a client's connection over. Never throws; a refused client only sees the end of the connection. */
	handle(label: string, client: Socket): void {
		client.on("error", () => client.destroy());
		if (this.#closing) {
			client.destroy();
			return;
		}
		const session = new PassthroughSession(client);
		this.#sessions.add(session);
		client.once("close", () => this.#ended(session));
		this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref();
		this.#open(session, label).catch((error) => {
			this.#options.log.debug({ err: error, devboxId: session.devboxId }, "passthrough refused");
			session.destroy();
		});
	}

	/** Ends every session of a devbox: its keys changed, its owner left, it is gone. */
	drop(devboxId: string): void {
		for (const session of this.#byDevbox.get(devboxId) ?? []) session.destroy();
	}

	/** Takes no more clients, lets sessions end for so long, then ends them. */
	close({ graceMs }: { readonly graceMs: number }): Promise<void> {
		this.#closing ??= this.#close(graceMs);
		return this.#closing;
	}

	async #close(graceMs: number): Promise<void> {
		if (this.#sessions.size === 0) return;
		const empty = new Promise<void>((resolve) => {
			this.#whenEmpty = resolve;
		});
		const deadline = setTimeout(() => {
			for (const session of this.#sessions) session.destroy();
		}, graceMs);
		await empty;
		clearTimeout(deadline);
	}

	async #open(session: PassthroughSession, label: string): Promise<void> {
		const found = await this.#options.directory.lookupLabel(label);
		if (!found || session.ended) return session.destroy();
		this.#assign(session, found.devboxId);
		const { address } = await this.#running(session, found);
		if (address === null || session.ended) return session.destroy();
		const upstream = this.#connect(address);
		session.join(upstream, performance.now(), CONNECT_MS);
	}

	/** Nobody has authenticated yet, so only a box that allows it is woken. One that is starting anyway is waited for. */
	async #running(session: PassthroughSession, found: SshTarget): Promise<SshTarget> {
		const { devboxId, status, wakes } = found;
		if (status === "running") return found;
		const starting = status === "provisioning" || status === "initializing" || status === "resuming";
		const suspended = status === "suspended" || status === "suspending";
		if (!starting && !(suspended && wakes)) return { ...found, address: null };
		const signal = AbortSignal.any([session.signal, AbortSignal.timeout(WAKE_MS)]);
		return await this.#options.directory.awaitRunning(devboxId, signal);
	}

	#assign(session: PassthroughSession, devboxId: string): void {
		session.devboxId = devboxId;
		const siblings = this.#byDevbox.get(devboxId);
		if (siblings) siblings.add(session);
		else this.#byDevbox.set(devboxId, new Set([session]));
	}

	#ended(session: PassthroughSession): void {
		session.destroy();
		if (session.devboxId !== "") this.#audit(session);
		this.#sessions.delete(session);
		const siblings = this.#byDevbox.get(session.devboxId);
		siblings?.delete(session);
		if (siblings?.size === 0) this.#byDevbox.delete(session.devboxId);
		if (this.#sessions.size > 0) return;
		clearInterval(this.#timer);
		this.#timer = undefined;
		this.#whenEmpty?.();
	}

	/** Who it was only the box's sshd knows. */
	#audit({ devboxId, peerAddress, reached, bytes, startedAtMs }: PassthroughSession): void {
		this.#options.audit.record({
			action: "passthrough.session",
			outcome: reached ? "ok" : "failed",
			actor: { peerAddress },
			devboxId,
			durationMs: performance.now() - startedAtMs,
			details: { bytes },
		});
	}

	#tick(): void {
		const nowMs = performance.now();
		for (const session of this.#sessions) {
			const { idle, active } = session.look(nowMs, this.#options.idleTimeoutMs);
			if (idle) session.destroy();
			else if (active) this.#options.directory.activity(session.devboxId);
		}
	}
}

const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, allowHalfOpen: true };
