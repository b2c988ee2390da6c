import type { Socket } from "node:net";

/** RFC 9113, 3.4. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** What a connection's first bytes speak; undefined while they could still become either. */
export function protocolOf(bytes: Buffer): "http1" | "http2" | undefined {
	const length = Math.min(bytes.length, PREFACE.length);
	if (PREFACE.compare(bytes, 0, length, 0, length) !== 0) return "http1";
	return length === PREFACE.length ? "http2" : undefined;
}

/** Waits for a socket's first bytes, says what they speak and puts them back, however they were split. */
export function detectProtocol(socket: Socket, found: (protocol: "http1" | "http2") => void): void {
	let bytes: Buffer = Buffer.alloc(0);
	const look = () => {
		const chunk: Buffer | null = socket.read();
		if (chunk === null) return;
		bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
		const protocol = protocolOf(bytes);
		if (protocol === undefined) return;
		socket.off("readable", look);
		socket.off("end", end);
		socket.unshift(bytes);
		found(protocol);
	};
	// Gone before it said anything.
	const end = () => socket.destroy();
	socket.on("readable", look);
	socket.on("end", end);
}
