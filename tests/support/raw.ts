import { once } from "node:events";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";

export interface RawAnswer {
	/** The status line and the header's lines, byte for byte (latin1). */
	readonly head: readonly string[];
	readonly body: string;
}

/** Sends bytes (latin1) as they are over plain TCP, and resolves with all that comes back once the server has closed. */
export async function exchange(port: number, bytes: string): Promise<string> {
	const socket = connect(port, "127.0.0.1");
	await once(socket, "connect");
	socket.write(bytes, "latin1");
	return (await buffer(socket)).toString("latin1");
}

/** Sends one HTTP/1.1 request that no library would write. It must make the server close: `Connection: close` or the like. */
export async function sendRaw(port: number, lines: readonly string[], body = ""): Promise<RawAnswer> {
	const answer = await exchange(port, `${lines.join("\r\n")}\r\n\r\n${body}`);
	const end = answer.indexOf("\r\n\r\n");
	return { head: answer.slice(0, end).split("\r\n"), body: answer.slice(end + 4) };
}
