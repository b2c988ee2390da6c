/** Which bytes are a body's own and where it ends (RFC 9112 §6), for requests and responses alike. */
import { ChunkedDecoder, type Trailers } from "./chunked.js";
import type { HeadLimits } from "./fields.js";
import { CHUNKED } from "./request-head.js";
import { UNTIL_CLOSE } from "./response-head.js";

export class BodyFraming {
	/** Bytes to come, CHUNKED or UNTIL_CLOSE; 0 when the body is over. */
	left = 0;
	/** After `take`: the body's bytes lie at `[dataStart, dataEnd)`, and what is not the body's begins at `next`. */
	dataStart = 0;
	dataEnd = 0;
	next = 0;
	/** Of a chunked body, once it is over. */
	trailers: Trailers | undefined;
	private decoder: ChunkedDecoder | undefined;

	/** A body of `length` bytes, CHUNKED or UNTIL_CLOSE begins. */
	begin(length: number, limits: HeadLimits): void {
		this.left = length;
		this.trailers = undefined;
		this.decoder = length === CHUNKED ? new ChunkedDecoder(limits) : undefined;
	}

	/** Finds the body's part of `bytes[start, end)`; chunks are moved together in place. Returns false when the coding is broken. */
	take(bytes: Buffer, start: number, end: number): boolean {
		this.dataStart = start;
		this.dataEnd = this.next = end;
		if (this.left === UNTIL_CLOSE) return true;
		if (this.left === CHUNKED) return this.decode(this.decoder!, bytes, start, end);
		if (this.left < end - start) this.dataEnd = this.next = start + this.left;
		this.left -= this.dataEnd - start;
		return true;
	}

	private decode(decoder: ChunkedDecoder, bytes: Buffer, start: number, end: number): boolean {
		if (!decoder.decode(bytes, start, end)) return false;
		this.dataStart = decoder.dataStart;
		this.dataEnd = decoder.dataEnd;
		this.next = decoder.position;
		if (decoder.done) {
			this.left = 0;
			this.trailers = decoder.trailers;
			this.decoder = undefined;
		}
		return true;
	}
}
