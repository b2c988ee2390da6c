import type { Socket } from "node:net";
import { disconnectMessage, disconnectReasons } from "./messages.js";

/**
 * Says why to a client that nothing was read from yet, and hangs up: a version line and an unencrypted DISCONNECT (RFC 4253,
 * sections 4.2 and 6), which clients show.
 */
export function refuse(socket: Socket, text: string): void {
	const payload = disconnectMessage(disconnectReasons.tooManyConnections, text);
	const padding = 4 + ((8 - ((4 + 1 + payload.length + 4) % 8)) % 8);
	const packet = Buffer.alloc(4 + 1 + payload.length + padding);
	packet.writeUInt32BE(packet.length - 4);
	packet.writeUInt8(padding, 4);
	packet.set(payload, 5);
	socket.on("error", () => {});
	socket.write(Buffer.concat([Buffer.from(`SSH-2.0-${ident}\r\n`), packet]));
	socket.destroySoon();
}

/** How the gateway calls itself. */
export const ident = "Gangway";
