/** Bytes to a client's socket in as few writes and copies as their ownership allows. */

import type * as net from "node:net";
import { latin1 } from "./codec/chars.js";
import { CRLF, chunkLine } from "./codec/chunked.js";
import { SMALL } from "./exchange.js";
import { HEADROOM, type Slab, type Slabs, TAILROOM } from "./slabs.js";

/**
 * Writes `head`, the data `bytes[start, end)` (as one chunk when `chunked`) and `tail`. Without a `slab` the bytes belong to
 * somebody else and are copied; bytes of a slab are written where they lie. Returns false when the client is behind.
 */
export function writeBody(
	socket: net.Socket,
	slabs: Slabs,
	head: string,
	bytes: Buffer,
	slab: Slab | undefined,
	start: number,
	end: number,
	chunked: boolean,
	tail: string,
): boolean {
	const size = end - start;
	const before = chunked && size > 0 ? head + chunkLine(size) : head;
	const after = chunked && size > 0 ? CRLF + tail : tail;
	if (size <= SMALL) {
		const text = size === 0 ? before + after : before + latin1(bytes, start, end) + after;
		return text === "" || socket.write(text, "latin1");
	}
	if (slab === undefined) return writeCopy(socket, slabs, before, bytes, start, end, after);
	if (before.length <= start && after.length <= TAILROOM) {
		// What lies around the data in its slab was framing and is used up: the new framing goes there.
		slab.bytes.write(before, start - before.length, "latin1");
		slab.bytes.write(after, end, "latin1");
		slab.inFlight++;
		return socket.write(slab.bytes.subarray(start - before.length, end + after.length), slab.written);
	}
	socket.cork();
	if (before !== "") socket.write(before, "latin1");
	slab.inFlight++;
	let proceed = socket.write(slab.bytes.subarray(start, end), slab.written);
	if (after !== "") proceed = socket.write(after, "latin1");
	socket.uncork();
	return proceed;
}

function writeCopy(
	socket: net.Socket,
	slabs: Slabs,
	before: string,
	bytes: Buffer,
	start: number,
	end: number,
	after: string,
): boolean {
	const size = before.length + end - start + after.length;
	const slab = size <= 64 * 1024 + HEADROOM ? slabs.takeSmall() : slabs.takeLarge();
	if (size > slab.bytes.length) {
		// Cannot happen with what the shared slab holds; kept correct all the same.
		slab.release();
		return socket.write(
			Buffer.concat([Buffer.from(before, "latin1"), bytes.subarray(start, end), Buffer.from(after, "latin1")]),
		);
	}
	slab.bytes.write(before, 0, "latin1");
	bytes.copy(slab.bytes, before.length, start, end);
	slab.bytes.write(after, size - after.length, "latin1");
	slab.inFlight++;
	const proceed = socket.write(slab.bytes.subarray(0, size), slab.written);
	slab.release();
	return proceed;
}
