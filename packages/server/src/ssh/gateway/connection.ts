import type { Socket } from "node:net";
import type { Logger } from "pino";
import type { Client, Connection } from "ssh2";
import type { AuditAction, AuditActor, AuditDetails, AuditSink } from "../../audit/index.js";
import type { GatewayDirectory, SshAccess } from "../../devboxes/index.js";
import { connectionLost, logIn } from "../login.js";
import type { GatewayAccess, Grant } from "./access.js";
import type { Admission } from "./admission.js";
import { Authentication, type RefusedAttempts } from "./authentication.js";
import { authorize, devboxIdOfUsername } from "./authorize.js";
import type { Channel } from "./channels.js";
import { type DisconnectReason, disconnectReasons } from "./messages.js";
import { disconnect, limitUnsent } from "./packets.js";
import { Relay } from "./relay.js";

export interface ConnectionOptions {
	readonly directory: GatewayDirectory;
	readonly access: GatewayAccess;
	readonly admission: Admission;
	readonly audit: AuditSink;
	readonly log: Logger;
	readonly connect: (address: string) => Socket;
	readonly loginGraceMs: number;
	readonly maxSessions: number;
}

/** So long may a suspended box take to wake. */
const wakeMs = 60_000;
/** So long may a client take to hang up, after it was told that there is nothing here, or to read why it is cut off. */
const partingMs = 5_000;

/** One client, from its first byte on, and once it may, the box that it named. */
export class GatewayConnection {
	readonly #options: ConnectionOptions;
	readonly #socket: Socket;
	readonly #address: string;
	readonly #startedAtMs = performance.now();
	readonly #ended = new AbortController();
	#connection: Connection | undefined;
	#authentication: Authentication | undefined;
	#grant: Grant | undefined;
	#relay: Relay | undefined;
	#boxSocket: Socket | undefined;
	/** Runs until somebody has logged in, and again after the end. */
	#patience: NodeJS.Timeout;
	#reason = "closed by the client";
	#seenBytes = 0;
	#seenAtMs = this.#startedAtMs;

	constructor(socket: Socket, address: string, options: ConnectionOptions) {
		this.#socket = socket;
		this.#address = address;
		this.#options = options;
		this.#patience = setTimeout(() => {
			this.end(disconnectReasons.byApplication, "no login within the time for it");
		}, options.loginGraceMs);
		// A peer that resets is no event of its own: "close" follows.
		socket.on("error", () => socket.destroy());
		socket.once("end", () => socket.destroy());
		// ssh2 ends its side of what it does not understand, and would wait for the other.
		socket.once("finish", () => socket.destroy());
		socket.once("close", () => this.#closed());
	}

	/** Undefined until somebody has logged in. */
	get grant(): Grant | undefined {
		return this.#grant;
	}

	/** ssh2 has read the client's version. */
	attach(connection: Connection): void {
		this.#connection = connection;
		limitUnsent(this.#socket);
		connection.on("error", (error) => {
			this.#options.log.debug({ err: error, address: this.#address }, "an SSH connection failed");
			this.#socket.destroy();
		});
		this.#authentication = new Authentication(connection, this.#options, {
			granted: (grant) => {
				this.#grant = grant;
			},
			tooManyAttempts: () => this.end(disconnectReasons.noMoreAuthMethods, "too many authentication failures"),
			failed: (error) => {
				this.#options.log.error({ err: error }, "an SSH client could not be authenticated");
				this.#socket.destroy();
			},
		});
		connection.once("ready", () => this.#loggedIn(connection));
	}

	/** Tells the client why, and ends it. Twice is fine. */
	end(reason: DisconnectReason, text: string): void {
		if (this.#ended.signal.aborted) return;
		this.#reason = text;
		this.#abort();
		if (this.#connection) disconnect(this.#connection, reason, text);
		else this.#socket.destroy();
		this.#patience = setTimeout(() => this.#socket.destroy(), partingMs).unref();
	}

	/** Ends it if it has got as far as the box: one that still waits for the box hears of a failed start in its own way. */
	boxStopped(): void {
		if (this.#boxSocket) this.end(disconnectReasons.byApplication, "the devbox was stopped");
	}

	/** Ends it unless its user may still enter its box. */
	async recheck(): Promise<void> {
		if (this.#grant && !(await this.#mayEnter(this.#grant))) {
			this.end(disconnectReasons.byApplication, "access to this devbox was withdrawn");
		}
	}

	/** Ends it if there was no byte either way for so long; to be called now and then. */
	look(nowMs: number, idleTimeoutMs: number): void {
		const bytes = this.#socket.bytesRead + this.#socket.bytesWritten;
		if (bytes !== this.#seenBytes) {
			this.#seenBytes = bytes;
			this.#seenAtMs = nowMs;
		} else if (nowMs - this.#seenAtMs >= idleTimeoutMs) {
			this.end(disconnectReasons.byApplication, "idle for too long");
		}
	}

	#abort(): void {
		clearTimeout(this.#patience);
		this.#ended.abort();
		this.#boxSocket?.destroy();
	}

	#closed(): void {
		this.#abort();
		clearTimeout(this.#patience);
		const refused = this.#grant ? undefined : this.#authentication?.refused;
		if (refused) this.#denied(refused);
		if (!this.#relay || !this.#grant) return;
		this.#relay.close();
		this.#options.admission.leaveUser(this.#grant.userId);
		const durationMs = Math.round(performance.now() - this.#startedAtMs);
		this.#options.log.info({ ...this.#who(this.#grant), durationMs, reason: this.#reason }, "SSH logout");
	}

	#denied({ username, denials, fingerprint }: RefusedAttempts): void {
		const { admission, audit, log } = this.#options;
		const peerAddress = this.#address;
		admission.failed(peerAddress);
		log.info({ peerAddress, username, denials, fingerprint }, "an SSH login was refused");
		audit.record({
			action: "ssh.denied",
			outcome: "denied",
			actor: { peerAddress },
			devboxId: devboxIdOfUsername(username),
			details: { username, reasons: denials, fingerprint },
		});
	}

	#loggedIn(connection: Connection): void {
		const grant = this.#grant!;
		clearTimeout(this.#patience);
		if (!this.#options.admission.enterUser(grant.userId)) {
			this.#options.log.info(this.#who(grant), "too many SSH connections of a user");
			this.end(disconnectReasons.tooManyConnections, "too many connections of this user");
			return;
		}
		const who = this.#who(grant);
		this.#options.log.info(who, "SSH login");
		this.#options.audit.record({ action: "ssh.connected", actor: this.#actor(grant), devboxId: grant.devboxId });
		const relay = new Relay(connection, this.#socket, {
			maxSessions: this.#options.maxSessions,
			mayOpen: () => this.#mayEnter(grant),
			end: (reason, text) => this.end(reason, text),
			activity: () => this.#options.directory.activity(grant.devboxId),
			closed: (channel) => this.#record(channel, grant),
			overLimit: (what) => this.#options.log.info({ ...who, what }, "an SSH connection is over a limit"),
		});
		this.#relay = relay;
		this.#openBox(grant.devboxId, relay).catch((error: unknown) => {
			if (this.#ended.signal.aborted) return;
			this.#options.log.info({ err: error, devboxId: grant.devboxId }, "an SSH client's devbox is not to be had");
			this.#part(relay, "gateway: the devbox could not be reached");
		});
	}

	/** By the same upload of the key: who deleted it has put an end to this, whoever uploads it next. */
	async #mayEnter({ key, devboxId, sshKeyId }: Grant): Promise<boolean> {
		const outcome = await authorize(this.#options, key, devboxId);
		return typeof outcome !== "string" && outcome.sshKeyId === sshKeyId;
	}

	async #openBox(devboxId: string, relay: Relay): Promise<void> {
		const { directory } = this.#options;
		const target = await directory.lookupDevbox(devboxId);
		if (target && target.status !== "running") {
			const asleep = target.status === "suspended" || target.status === "suspending";
			if (asleep && !target.resumes) return this.#part(relay, "gateway: the devbox is suspended");
			relay.announce(`gateway: ${asleep ? "resuming the devbox" : "the devbox is starting"}...`);
			const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(wakeMs)]);
			const started = await directory.awaitRunning(devboxId, signal).then(
				() => true,
				() => false,
			);
			if (!started) return this.#part(relay, "gateway: the devbox could not be started");
		}
		await this.#enter(await directory.sshAccess(devboxId), relay);
	}

	async #enter(access: SshAccess, relay: Relay): Promise<void> {
		const connect = (address: string) => {
			if (this.#ended.signal.aborted) throw connectionLost();
			this.#boxSocket = this.#options.connect(address);
			return this.#boxSocket;
		};
		const ready = (box: Client, socket: Socket) => {
			const lost = () => this.end(disconnectReasons.byApplication, "the connection to the devbox was lost");
			box.on("error", lost).on("end", lost).on("close", lost);
			relay.join(box, socket);
		};
		await logIn(access, { connect, ready });
	}

	/** Whatever the client asks for gets this line. It hangs up then, or we do. */
	#part(relay: Relay, line: string): void {
		if (this.#ended.signal.aborted) return;
		relay.refuse(line);
		this.#patience = setTimeout(() => this.end(disconnectReasons.byApplication, line), partingMs).unref();
	}

	#record({ kind, purpose, openedAtMs, bytesFromClient, bytesToClient, sftp }: Channel, grant: Grant): void {
		const { devboxId } = grant;
		const actor = this.#actor(grant);
		const durationMs = performance.now() - openedAtMs;
		const bytes = { bytes_from_client: bytesFromClient, bytes_to_client: bytesToClient };
		const record = (action: AuditAction, details: AuditDetails) => {
			this.#options.audit.record({ action, actor, devboxId, durationMs, details: { ...details, ...bytes } });
		};
		if (sftp) record("ssh.sftp", { files_written: [...sftp.written] });
		if (kind === "session") record("ssh.session", { program: purpose });
		else record("ssh.forward", { channel: kind, destination: purpose });
	}

	#actor({ userId, sshKeyId, teamId }: Grant): AuditActor {
		return { userId, sshKeyId, teamId, peerAddress: this.#address };
	}

	#who({ userId, devboxId }: Grant) {
		return { userId, devboxId, peerAddress: this.#address };
	}
}
