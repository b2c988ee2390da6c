/** Shared by the codec tests. */
import { ChunkedDecoder, type Trailers } from "./chunked.js";
import type { HeadLimits } from "./fields.js";
import { RequestHead } from "./request-head.js";
import { ResponseHead } from "./response-head.js";

export const LIMITS: HeadLimits = { headBytes: 16 * 1024, headFields: 100 };

export function bytes(text: string): Buffer {
	return Buffer.from(text, "latin1");
}

/** The head, or the negative result. Offset by some junk, as in a slab. */
export function parseRequest(text: string, limits = LIMITS): RequestHead | number {
	const all = bytes(`#junk#${text}\r\n\r\n#junk#`);
	return RequestHead.parse(all, 6, 6 + text.length, limits);
}

export function parseResponse(text: string, method = "GET"): ResponseHead | number {
	const head = new ResponseHead();
	const all = bytes(`#junk#${text}\r\n\r\n#junk#`);
	const next = head.parse(all, 6, 6 + text.length, LIMITS, method);
	return next < 0 ? next : head;
}

export interface Decoded {
	data: string;
	done: boolean;
	broken: boolean;
	trailers: Trailers | undefined;
	/** What came after the end. */
	rest: string;
}

/** Decodes pieces one after the other, each as a part of a larger buffer whose other bytes must stay as they are. */
export function decodePieces(pieces: readonly string[]): Decoded {
	const decoder = new ChunkedDecoder(LIMITS);
	let data = "";
	let rest = "";
	for (const piece of pieces) {
		if (decoder.done || decoder.broken) {
			rest += piece;
			continue;
		}
		const buffer = bytes(`<<${piece}>>`);
		decoder.decode(buffer, 2, 2 + piece.length);
		if (buffer.toString("latin1", 0, 2) !== "<<" || buffer.toString("latin1", 2 + piece.length) !== ">>") {
			throw new TypeError("the decoder wrote outside its range");
		}
		data += buffer.toString("latin1", decoder.dataStart, decoder.dataEnd);
		if (decoder.done) rest += buffer.toString("latin1", decoder.position, 2 + piece.length);
	}
	return { data, done: decoder.done, broken: decoder.broken, trailers: decoder.trailers, rest };
}
