import {
	type ChannelOpen,
	channelMessage,
	confirmationMessage,
	exitStatusMessage,
	messages,
	stderrMessage,
	windowAdjustMessage,
} from "./messages.js";

/** The number that the client knows it by: no OpenSSH server gives one as high. */
const id = 0x67_61_74_65;

/**
 * A session that the gateway confirms before the box can, so that there is somewhere to tell its user why nothing happens.
 * The client may send no data on it until the box has confirmed it too.
 */
export class EarlySession {
	static readonly id = id;
	readonly clientId: number;
	/** Its number at the box, once it has one. */
	boxId: number | undefined;
	readonly #send: (payload: Buffer) => void;
	#window: number;

	constructor(open: ChannelOpen, send: (payload: Buffer) => void) {
		this.clientId = open.sender;
		this.#window = open.window;
		this.#send = send;
		send(confirmationMessage(this.clientId, id, 0));
	}

	/** What the box may send: the client's window without what we have used of it. */
	get window(): number {
		return this.#window;
	}

	/** A line on standard error; the terminal may be raw. */
	say(line: string): void {
		const data = Buffer.from(`${line}\r\n`);
		if (data.length > this.#window) return;
		this.#window -= data.length;
		this.#send(stderrMessage(this.clientId, data));
	}

	/** The box has confirmed it too. */
	confirmed(boxId: number, window: number): void {
		this.boxId = boxId;
		this.#send(windowAdjustMessage(this.clientId, window));
	}

	/** Ends it as a program that failed. */
	fail(line: string): void {
		this.say(line);
		this.#send(exitStatusMessage(this.clientId, 1));
		this.#send(channelMessage(messages.channelEof, this.clientId));
		this.#send(channelMessage(messages.channelClose, this.clientId));
	}
}
