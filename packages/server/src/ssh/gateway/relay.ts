import type { Socket } from "node:net";
import type { Client, Connection } from "ssh2";
import { type Channel, Channels } from "./channels.js";
import { EarlySession } from "./early-session.js";
import { isLegacyScp, legacyScpRefusal } from "./legacy-scp.js";
import {
	type DisconnectReason,
	disconnectReasons,
	execMessage,
	messages,
	openFailureMessage,
	openFailures,
	readChannelConfirmation,
	readChannelOpen,
	readChannelRequest,
	readCommand,
	readData,
	readDestination,
	readGlobalRequest,
	readRecipient,
	requestFailureMessage,
	withRecipient,
	withWindow,
} from "./messages.js";
import { PacketLink } from "./packets.js";
import { SftpWatch } from "./sftp-watch.js";

export interface RelayOptions {
	/** Asked before every channel that the client opens. A rejection counts as a no, which ends the connection. */
	mayOpen(): Promise<boolean>;
	/** The connection is of no use any more. */
	end(reason: DisconnectReason, text: string): void;
	/** Data went through a channel. Called for every chunk. */
	activity(): void;
	/** A session that was told what to run, or a forward that stood. */
	closed(channel: Channel): void;
	/** A channel was refused because there were too many; `what` is `sessions` or `channels`. */
	overLimit(what: "sessions" | "channels"): void;
	/** At one time; 0 is no limit. */
	readonly maxSessions: number;
}

/** What may wait while the client is not answered yet, with so much for each message beside its bytes. */
const maxHeldBytes = 256 * 1024;
const heldOverhead = 64;
/** Each is a file descriptor in the box, of which its sshd has 1024. */
const maxChannels = 1_000;

/**
 * One user's authenticated connection and the box's, message by message. Both ends keep their own channel numbers and
 * windows, so that whatever they agree on is theirs: flow control, terminals, signals and requests we have never heard of.
 */
export class Relay {
	readonly #options: RelayOptions;
	readonly #client: PacketLink;
	readonly #channels = new Channels();
	#box: PacketLink | undefined;
	/** What the client has sent while something had to be waited for: it is dealt with in its order. */
	readonly #held: Buffer[] = [];
	#heldBytes = 0;
	#waiting = true;
	#announcement: string | undefined;
	#early: EarlySession | undefined;
	#refusal: string | undefined;

	/** To be made in the listener of "ready". */
	constructor(client: Connection, socket: Socket, options: RelayOptions) {
		this.#options = options;
		this.#client = new PacketLink(client, socket, {
			message: (payload) => this.#fromClient(payload),
			flow: () => this.#balance(),
		});
	}

	/** A line for the user: it stands on the standard error of the first session, as soon as there is one. */
	announce(line: string): void {
		this.#announcement = line;
		this.#guard(() => {
			for (const payload of this.#held) this.#beginEarly(payload);
		});
	}

	/** The box is there. To be called in the listener of "ready". */
	join(box: Client, socket: Socket): void {
		this.#box = new PacketLink(box, socket, {
			message: (payload) => this.#fromBox(payload),
			flow: () => this.#balance(),
		});
		this.#proceed();
	}

	/** The box is not to be had: every session says so and ends with 1. */
	refuse(line: string): void {
		this.#refusal = line;
		this.#early?.fail(line);
		this.#proceed();
	}

	/** Says of all that is open that it is closed. */
	close(): void {
		for (const channel of this.#channels.clear()) this.#tellClosed(channel);
	}

	#fromClient(payload: Buffer): void {
		if (!this.#waiting && this.#held.length === 0) {
			this.#forward(payload);
			return;
		}
		this.#held.push(Buffer.from(payload));
		this.#heldBytes += payload.length + heldOverhead;
		this.#beginEarly(payload);
		this.#balance();
	}

	#proceed(): void {
		this.#waiting = false;
		this.#guard(() => {
			while (!this.#waiting && this.#held.length > 0) {
				const payload = this.#held.shift()!;
				this.#heldBytes -= payload.length + heldOverhead;
				this.#forward(payload);
			}
		});
		this.#balance();
	}

	/** Whatever the client sends must not throw where ssh2 does not catch it. */
	#guard(work: () => void): void {
		try {
			work();
		} catch {
			this.#options.end(disconnectReasons.protocolError, "malformed message");
		}
	}

	/** Neither end is read faster than the other takes what it sends. */
	#balance(): void {
		this.#client.reading = this.#box?.blocked !== true && this.#heldBytes < maxHeldBytes;
		if (this.#box) this.#box.reading = !this.#client.blocked;
	}

	#beginEarly(payload: Buffer): void {
		if (this.#announcement === undefined || this.#early || payload[0] !== messages.channelOpen) return;
		const open = readChannelOpen(payload);
		if (open.kind !== "session") return;
		this.#early = new EarlySession(open, (message) => this.#client.send(message));
		this.#early.say(this.#announcement);
	}

	#forward(payload: Buffer): void {
		if (this.#refusal !== undefined) {
			this.#answerRefused(payload, this.#refusal);
			return;
		}
		switch (payload[0]) {
			case messages.channelOpen:
				this.#openForClient(payload);
				return;
			case messages.channelOpenConfirmation:
				this.#confirmedByClient(payload);
				break;
			case messages.channelOpenFailure:
				this.#failed(this.#channels.ofBox(readRecipient(payload)));
				break;
			case messages.channelData:
				this.#countFromClient(payload);
				break;
			case messages.channelRequest:
				this.#sendRequest(payload);
				return;
		}
		this.#sendToBox(payload);
	}

	#sendToBox(payload: Buffer): void {
		this.#box?.send(this.#translated(payload));
	}

	/** The number of the early session is ours; all others are the box's own. */
	#translated(payload: Buffer): Buffer {
		const boxId = this.#early?.boxId;
		if (boxId === undefined || payload[0]! <= messages.channelOpen) return payload;
		return readRecipient(payload) === EarlySession.id ? withRecipient(payload, boxId) : payload;
	}

	#channelToBox(payload: Buffer): Channel | undefined {
		return this.#channels.ofBox(readRecipient(this.#translated(payload)));
	}

	/** Nothing overtakes it while we ask whether it may be: `no-more-sessions` usually comes right behind. */
	#openForClient(payload: Buffer): void {
		this.#waiting = true;
		const kept = Buffer.from(payload);
		this.#options.mayOpen().then(
			(may) => this.#settleOpen(kept, may),
			() => this.#settleOpen(kept, false),
		);
	}

	#settleOpen(payload: Buffer, may: boolean): void {
		if (!may) {
			this.#options.end(disconnectReasons.byApplication, "access to this devbox was withdrawn");
			return;
		}
		this.#guard(() => {
			if (this.#open(payload)) this.#proceed();
		});
	}

	/** False when the box's answer must be waited for. */
	#open(payload: Buffer): boolean {
		const open = readChannelOpen(payload);
		const { kind, sender } = open;
		if (this.#channels.ofClient(sender)) throw new RangeError("a channel's number is taken");
		const excess = this.#excess(kind);
		if (excess !== undefined) {
			this.#options.overLimit(excess);
			const text = `too many ${excess} on this connection`;
			this.#client.send(openFailureMessage(sender, openFailures.resourceShortage, text));
			return true;
		}
		this.#channels.add("client", sender, kind, kind.startsWith("direct-") ? readDestination(open) : "");
		const early = this.#early?.clientId === sender && this.#early.boxId === undefined ? this.#early : undefined;
		this.#box?.send(early ? withWindow(payload, early.window) : payload);
		return early === undefined;
	}

	#excess(kind: string): "sessions" | "channels" | undefined {
		const { maxSessions } = this.#options;
		if (kind === "session" && maxSessions > 0 && this.#channels.sessions >= maxSessions) return "sessions";
		return this.#channels.size >= maxChannels ? "channels" : undefined;
	}

	#confirmedByClient(payload: Buffer): void {
		const { recipient, sender } = readChannelConfirmation(payload);
		const channel = this.#channels.ofBox(recipient);
		if (!channel) return;
		this.#channels.confirm(channel, sender);
		channel.isOpen = true;
	}

	#tellClosed(channel: Channel): void {
		if (channel.isOpen) this.#options.closed(channel);
	}

	#failed(channel: Channel | undefined): void {
		if (channel) this.#channels.remove(channel);
	}

	#countFromClient(payload: Buffer): void {
		this.#options.activity();
		const channel = this.#channelToBox(payload);
		if (!channel) return;
		const data = readData(payload);
		channel.bytesFromClient += data.length;
		channel.sftp?.push(data);
	}

	#sendRequest(payload: Buffer): void {
		const request = readChannelRequest(payload);
		const channel = this.#channelToBox(payload);
		if (channel) this.#noteProgram(channel, request.name, request.details);
		const command = request.name === "exec" ? readCommand(request.details).toString("latin1") : "";
		const refused = isLegacyScp(command);
		this.#sendToBox(refused ? execMessage(request.recipient, request.wantReply, legacyScpRefusal) : payload);
	}

	/** Commands may hold secrets: which one it was is nobody's business. */
	#noteProgram(channel: Channel, request: string, details: Buffer): void {
		if (channel.kind !== "session" || channel.purpose !== "") return;
		if (request === "shell" || request === "exec") channel.purpose = request;
		else if (request === "subsystem") channel.purpose = readCommand(details).toString("utf8");
		else return;
		if (channel.purpose === "sftp") channel.sftp = new SftpWatch();
		channel.isOpen = true;
	}

	#answerRefused(payload: Buffer, line: string): void {
		if (payload[0] === messages.globalRequest) {
			if (readGlobalRequest(payload).wantReply) this.#client.send(requestFailureMessage());
		} else if (payload[0] === messages.channelOpen) {
			const open = readChannelOpen(payload);
			if (open.sender === this.#early?.clientId) return;
			if (open.kind === "session") new EarlySession(open, (message) => this.#client.send(message)).fail(line);
			else this.#client.send(openFailureMessage(open.sender, openFailures.connectFailed, line));
		}
	}

	#fromBox(payload: Buffer): void {
		switch (payload[0]) {
			case messages.globalRequest:
				// The box's own host keys (OpenSSH's UpdateHostKeys): the client would take them for ours.
				if (readGlobalRequest(payload).name.startsWith("hostkeys")) return;
				break;
			case messages.channelOpen:
				this.#openForBox(payload);
				return;
			case messages.channelOpenConfirmation:
				if (this.#confirmedByBox(payload)) return;
				break;
			case messages.channelOpenFailure:
				if (this.#failedAtBox(payload)) return;
				break;
			case messages.channelData:
			case messages.channelExtendedData:
				this.#countFromBox(payload);
				break;
			case messages.channelClose:
				this.#closedByBox(payload);
				break;
		}
		this.#client.send(payload);
	}

	#openForBox(payload: Buffer): void {
		const open = readChannelOpen(payload);
		if (this.#channels.ofBox(open.sender)) throw new RangeError("a channel's number is taken");
		if (this.#channels.size >= maxChannels) {
			this.#box?.send(openFailureMessage(open.sender, openFailures.resourceShortage, "too many channels"));
			return;
		}
		const forward = open.kind.startsWith("forwarded-");
		this.#channels.add("box", open.sender, open.kind, forward ? readDestination(open) : "");
		this.#client.send(payload);
	}

	/** True when the client does not need to hear of it. */
	#confirmedByBox(payload: Buffer): boolean {
		const { recipient, sender, window } = readChannelConfirmation(payload);
		const channel = this.#channels.ofClient(recipient);
		if (channel?.openedBy !== "client" || channel.boxId !== undefined) return true;
		this.#channels.confirm(channel, sender);
		channel.isOpen = channel.kind !== "session";
		if (recipient !== this.#early?.clientId || this.#early.boxId !== undefined) return false;
		this.#early.confirmed(sender, window);
		this.#proceed();
		return true;
	}

	#failedAtBox(payload: Buffer): boolean {
		const recipient = readRecipient(payload);
		this.#failed(this.#channels.ofClient(recipient));
		if (recipient !== this.#early?.clientId || this.#early.boxId !== undefined) return false;
		this.refuse("gateway: the devbox refused the session");
		return true;
	}

	#countFromBox(payload: Buffer): void {
		this.#options.activity();
		const channel = this.#channels.ofClient(readRecipient(payload));
		if (channel) channel.bytesToClient += readData(payload).length;
	}

	#closedByBox(payload: Buffer): void {
		const channel = this.#channels.ofClient(readRecipient(payload));
		if (!channel) return;
		this.#channels.remove(channel);
		this.#tellClosed(channel);
	}
}
