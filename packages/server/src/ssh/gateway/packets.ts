import type { Socket } from "node:net";
import type { Client, Connection } from "ssh2";
import { type DisconnectReason, disconnectMessage, messages } from "./messages.js";

/**
 * What is used of ssh2 beyond its public interface; this file is the only one that knows it. ssh2 has no way to take whole
 * messages of the connection protocol (RFC 4254) out of a connection, or to put some in.
 */
interface Protocol {
	/** Every payload goes through `read` after it was decrypted; key exchanges put another reader there. */
	readonly _packetRW: {
		read: PayloadReader;
		readonly write: {
			/** Where a payload begins in what `alloc` returns. */
			readonly allocStart: number;
			readonly allocStartKEX: number;
			alloc(bytes: number, evenInKeyExchange?: boolean): Buffer;
			finalize(packet: Buffer, evenInKeyExchange?: boolean): Buffer;
		};
	};
	readonly _cipher: { encrypt(packet: Buffer): void };
	/** Set during a key exchange: then other messages wait in the queue, as payloads. */
	readonly _kexinit: unknown;
	_queue: Buffer[] | undefined;
}

interface PayloadReader {
	read(payload: Buffer): Buffer;
	cleanup(): void;
}

/** RFC 4250, section 4.1.2: from here on they are the connection protocol's. */
const firstConnectionMessage = 80;
/** What ssh2 sees in the place of a message that was taken. */
const ignored = Buffer.from([messages.ignore]);
/** Whoever lets more than this wait for them is cut off. What `blocked` leaves room for is far less. */
const maxUnsentBytes = 4 * 1024 * 1024;

export interface PacketLinkEvents {
	/** A message of the connection protocol. Its bytes are only valid during the call. */
	message(payload: Buffer): void;
	/** `blocked` may have changed. */
	flow(): void;
}

/** The TCP or TLS connection under a connection of ssh2's. */
export function socketOf(peer: Client | Connection): Socket {
	return (peer as unknown as { readonly _sock: Socket })._sock;
}

/** Ends a connection whose peer has us answer and reads no answers: ssh2 writes them all the same. */
export function limitUnsent(socket: Socket): void {
	socket.on("data", () => {
		if (socket.writableLength > maxUnsentBytes) socket.destroy();
	});
}

/** Tells the peer why, and ends the connection as soon as that is sent. At any time; twice is fine. */
export function disconnect(peer: Connection, reason: DisconnectReason, text: string): void {
	const socket = socketOf(peer);
	if (!socket.writable) return;
	const { _packetRW, _cipher } = protocolOf(peer);
	const payload = disconnectMessage(reason, text);
	// Allowed, and not queued, in the middle of a key exchange too.
	const packet = _packetRW.write.alloc(payload.length, true);
	packet.set(payload, _packetRW.write.allocStartKEX);
	_cipher.encrypt(_packetRW.write.finalize(packet, true));
	socket.destroySoon();
}

function protocolOf(peer: Client | Connection): Protocol {
	return (peer as unknown as { readonly _protocol: Protocol })._protocol;
}

/**
 * An authenticated SSH connection, seen as messages of the connection protocol: ssh2 does encryption, key exchanges and
 * integrity, and gets none of those messages to see any more.
 */
export class PacketLink {
	readonly #protocol: Protocol;
	readonly #socket: Socket;
	readonly #events: PacketLinkEvents;
	/** From the peer's KEXINIT until both use the new keys. */
	#exchangingKeys = false;
	/** In ssh2's queue. */
	#queuedBytes = 0;
	#blocked = false;
	#reading = true;

	/** To be made in the listener of ssh2's "ready", so that no message is missed. */
	constructor(peer: Client | Connection, socket: Socket, events: PacketLinkEvents) {
		this.#protocol = protocolOf(peer);
		this.#socket = socket;
		this.#events = events;
		const reader: PayloadReader = { read: (payload) => this.#take(payload), cleanup: () => {} };
		Object.defineProperty(this.#protocol._packetRW, "read", { get: () => reader, set: () => {} });
		peer.on("handshake", () => this.#setExchanging(false));
		socket.on("drain", () => this.#lookAtFlow());
	}

	/** More should not be sent now: the peer takes too little, or exchanges keys. What is sent all the same waits. */
	get blocked(): boolean {
		return this.#blocked;
	}

	/** Sends one message. */
	send(payload: Uint8Array): void {
		if (this.#socket.destroyed) return;
		const { write } = this.#protocol._packetRW;
		const packet = write.alloc(payload.length);
		if (this.#protocol._kexinit === undefined) {
			packet.set(payload, write.allocStart);
			this.#protocol._cipher.encrypt(write.finalize(packet));
		} else {
			packet.set(payload);
			this.#protocol._queue ??= [];
			this.#protocol._queue.push(packet);
			this.#queuedBytes += packet.length;
		}
		if (this.#socket.writableLength + this.#queuedBytes > maxUnsentBytes) this.#socket.destroy();
		else this.#lookAtFlow();
	}

	/** Whether messages are read. Key exchanges are always: two peers that wait for one another's would do so for ever. */
	set reading(reading: boolean) {
		if (reading === this.#reading) return;
		this.#reading = reading;
		this.#applyReading();
	}

	#take(payload: Buffer): Buffer {
		const [type = 0] = payload;
		if (type < firstConnectionMessage) {
			if (type === messages.kexInit) this.#setExchanging(true);
			return payload;
		}
		// RFC 4253, section 7.1. It would get past `reading`.
		if (this.#exchangingKeys) throw new RangeError("a message in the middle of a key exchange");
		this.#events.message(payload);
		return ignored;
	}

	#setExchanging(exchanging: boolean): void {
		this.#exchangingKeys = exchanging;
		if (!exchanging) this.#queuedBytes = 0;
		this.#applyReading();
		this.#lookAtFlow();
	}

	#applyReading(): void {
		if (this.#reading || this.#exchangingKeys) this.#socket.resume();
		else this.#socket.pause();
	}

	#lookAtFlow(): void {
		const blocked = this.#exchangingKeys || this.#socket.writableNeedDrain;
		if (blocked === this.#blocked) return;
		this.#blocked = blocked;
		this.#events.flow();
	}
}
