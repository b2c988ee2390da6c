import * as net from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/**
 * Ends a connection with a reset, so that the peer cannot take the end for a proper one. Over TLS the missing
 * close_notify says the same.
 *
 * `resetAndDestroy` first sends what is pending and a FIN, and waits for both; a peer that does not read would never see the
 * reset, and `destroy` in between leaks the descriptor (libuv refuses to reset while it shuts down, Node then never closes
 * the handle). So it is made to destroy at once, and used only where no shutdown is under way.
 */
export function resetConnection(socket: Duplex): void {
	if (socket.destroyed) return;
	const plain = socket instanceof net.Socket && !(socket instanceof TLSSocket);
	if (!plain || socket.writableEnded || socket.connecting) {
		socket.destroy();
		return;
	}
	socket.destroySoon = () => {
		socket.destroy();
	};
	socket.resetAndDestroy();
}
