import { sshUint32 as number, sshString as string } from "../../devboxes/index.js";

/** Messages of SSH as bytes (RFC 4250, section 4.1.2): what the gateway reads, writes or changes of them. */
export const messages = {
	disconnect: 1,
	ignore: 2,
	kexInit: 20,
	globalRequest: 80,
	requestSuccess: 81,
	requestFailure: 82,
	channelOpen: 90,
	channelOpenConfirmation: 91,
	channelOpenFailure: 92,
	channelWindowAdjust: 93,
	channelData: 94,
	channelExtendedData: 95,
	channelEof: 96,
	channelClose: 97,
	channelRequest: 98,
	channelSuccess: 99,
	channelFailure: 100,
} as const;

/** RFC 4253, section 11.1. */
export const disconnectReasons = {
	protocolError: 2,
	byApplication: 11,
	tooManyConnections: 12,
	noMoreAuthMethods: 14,
} as const;
export type DisconnectReason = (typeof disconnectReasons)[keyof typeof disconnectReasons];

/** RFC 4254, section 5.1. */
export const openFailures = { prohibited: 1, connectFailed: 2, resourceShortage: 4 } as const;

const stderr = 1;
/** RFC 4254 demands that so much be taken at once. */
const maxPacket = 32_768;

export interface GlobalRequest {
	readonly name: string;
	readonly wantReply: boolean;
}

export interface ChannelOpen {
	readonly kind: string;
	/** The channel's number at who opens it. */
	readonly sender: number;
	readonly window: number;
	/** What stands in there for this kind, unread. */
	readonly details: Buffer;
}

export interface ChannelConfirmation {
	readonly recipient: number;
	readonly sender: number;
	readonly window: number;
}

export interface ChannelRequest {
	readonly recipient: number;
	readonly name: string;
	readonly wantReply: boolean;
	readonly details: Buffer;
}

export function readGlobalRequest(payload: Buffer): GlobalRequest {
	const reader = new Reader(payload);
	return { name: reader.string().toString("latin1"), wantReply: reader.boolean() };
}

export function readChannelOpen(payload: Buffer): ChannelOpen {
	const reader = new Reader(payload);
	const kind = reader.string().toString("latin1");
	const [sender, window] = [reader.number(), reader.number()];
	reader.number();
	return { kind, sender, window, details: reader.rest() };
}

export function readChannelConfirmation(payload: Buffer): ChannelConfirmation {
	const reader = new Reader(payload);
	return { recipient: reader.number(), sender: reader.number(), window: reader.number() };
}

export function readChannelRequest(payload: Buffer): ChannelRequest {
	const reader = new Reader(payload);
	const recipient = reader.number();
	return {
		recipient,
		name: reader.string().toString("latin1"),
		wantReply: reader.boolean(),
		details: reader.rest(),
	};
}

/** The channel that a message from 91 to 100 is about, by its number at who gets the message. */
export function readRecipient(payload: Buffer): number {
	return new Reader(payload).number();
}

/** What a message of data carries. */
export function readData(payload: Buffer): Buffer {
	const reader = new Reader(payload);
	reader.number();
	if (payload[0] === messages.channelExtendedData) reader.number();
	return reader.string();
}

/** Where a forward leads: `host:port`, or the path of a socket. */
export function readDestination({ kind, details }: ChannelOpen): string {
	const reader = new Reader(details, 0);
	const address = reader.string().toString("utf8");
	return kind.endsWith("-tcpip") ? `${address}:${reader.number()}` : address;
}

/** The only string in the details of an exec or subsystem request. */
export function readCommand(details: Buffer): Buffer {
	return new Reader(details, 0).string();
}

/** The same message for the channel with another number. */
export function withRecipient(payload: Buffer, recipient: number): Buffer {
	const changed = Buffer.from(payload);
	changed.writeUInt32BE(recipient, 1);
	return changed;
}

/** The same CHANNEL_OPEN with another window. */
export function withWindow(payload: Buffer, window: number): Buffer {
	const changed = Buffer.from(payload);
	changed.writeUInt32BE(window, 1 + 4 + changed.readUInt32BE(1) + 4);
	return changed;
}

export function disconnectMessage(reason: DisconnectReason, text: string): Buffer {
	return message(messages.disconnect, number(reason), string(text), string(""));
}

export function requestFailureMessage(): Buffer {
	return message(messages.requestFailure);
}

export function confirmationMessage(recipient: number, sender: number, window: number): Buffer {
	return message(
		messages.channelOpenConfirmation,
		number(recipient),
		number(sender),
		number(window),
		number(maxPacket),
	);
}

export function openFailureMessage(recipient: number, reason: number, text: string): Buffer {
	return message(messages.channelOpenFailure, number(recipient), number(reason), string(text), string(""));
}

export function windowAdjustMessage(recipient: number, bytes: number): Buffer {
	return message(messages.channelWindowAdjust, number(recipient), number(bytes));
}

export function stderrMessage(recipient: number, data: Buffer): Buffer {
	return message(messages.channelExtendedData, number(recipient), number(stderr), string(data));
}

export function exitStatusMessage(recipient: number, status: number): Buffer {
	return message(messages.channelRequest, number(recipient), string("exit-status"), Buffer.of(0), number(status));
}

export function execMessage(recipient: number, wantReply: boolean, command: string): Buffer {
	return message(
		messages.channelRequest,
		number(recipient),
		string("exec"),
		Buffer.of(wantReply ? 1 : 0),
		string(command),
	);
}

/** EOF and CLOSE hold nothing but the channel. */
export function channelMessage(
	type: typeof messages.channelEof | typeof messages.channelClose,
	recipient: number,
): Buffer {
	return message(type, number(recipient));
}

function message(type: number, ...fields: readonly Buffer[]): Buffer {
	return Buffer.concat([Buffer.of(type), ...fields]);
}

/** Reads the fields of a message (RFC 4251, section 5) one by one; throws a `RangeError` where it ends too early. */
class Reader {
	readonly #bytes: Buffer;
	#at: number;

	constructor(bytes: Buffer, at = 1) {
		this.#bytes = bytes;
		this.#at = at;
	}

	number(): number {
		const value = this.#bytes.readUInt32BE(this.#at);
		this.#at += 4;
		return value;
	}

	boolean(): boolean {
		return this.#bytes.readUInt8(this.#at++) !== 0;
	}

	string(): Buffer {
		const length = this.number();
		if (length > this.#bytes.length - this.#at) throw new RangeError("an SSH message ends too early");
		this.#at += length;
		return this.#bytes.subarray(this.#at - length, this.#at);
	}

	rest(): Buffer {
		return this.#bytes.subarray(this.#at);
	}
}
