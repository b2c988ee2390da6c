/** Chunked transfer coding (RFC 9112 §7.1): a decoder that works in place and keeps no body, and the encoder's pieces. */
import { CLASS, CR, HEX, LF, VALUE } from "./chars.js";
import { FieldTable, type HeadLimits, INCOMPLETE, scanFields } from "./fields.js";

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER = 6;
const DONE = 7;
const BROKEN = 8;

/** 2^48 bytes: more than any body, and exact in a double. */
const MAX_SIZE_DIGITS = 12;
/** Nobody uses chunk extensions; they exist to be skipped, and to make a reader do work for nothing. */
const MAX_EXTENSION_BYTES = 256;
const MAX_EXTENSIONS_TOTAL = 16 * 1024;

/** Trailer fields as received, to be filtered by whoever forwards them. */
export type Trailers = readonly (readonly [name: string, value: string])[];

export class ChunkedDecoder {
	/** The decoded bytes of the last `decode` lie at `[dataStart, dataEnd)`. */
	dataStart = 0;
	dataEnd = 0;
	/** Where the message ended, once `done`. */
	position = 0;
	trailers: Trailers | undefined;
	private state = SIZE;
	private left = 0;
	private digits = 0;
	private extension = 0;
	private extensions = 0;
	private section: Buffer | undefined;

	constructor(private readonly limits: HeadLimits) {}

	get done(): boolean {
		return this.state === DONE;
	}

	get broken(): boolean {
		return this.state === BROKEN;
	}

	/**
	 * Decodes `bytes[start, end)` in place: chunks are moved together over the framing between them. Bytes outside the
	 * range are not touched. Returns false when the coding is broken.
	 */
	decode(bytes: Buffer, start: number, end: number): boolean {
		this.dataStart = this.dataEnd = this.position = start;
		let i = start;
		while (i < end && this.state < DONE) {
			if (this.state === DATA) i = this.takeData(bytes, i, end);
			else if (this.state === TRAILER) i = this.takeTrailer(bytes, i, end);
			else this.takeFraming(bytes[i++]!);
		}
		this.position = i;
		return this.state !== BROKEN;
	}

	private takeData(bytes: Buffer, from: number, end: number): number {
		const size = Math.min(this.left, end - from);
		if (this.dataEnd === this.dataStart) {
			this.dataStart = from;
			this.dataEnd = from + size;
		} else {
			bytes.copyWithin(this.dataEnd, from, from + size);
			this.dataEnd += size;
		}
		this.left -= size;
		if (this.left === 0) this.state = DATA_CR;
		return from + size;
	}

	private takeFraming(code: number): void {
		switch (this.state) {
			case SIZE:
				this.takeSize(code);
				return;
			case EXTENSION:
				if (code === CR) this.state = SIZE_LF;
				else if ((CLASS[code]! & VALUE) === 0 || ++this.extension > MAX_EXTENSION_BYTES) this.state = BROKEN;
				return;
			case SIZE_LF:
				this.state = code !== LF ? BROKEN : this.left === 0 ? TRAILER : DATA;
				this.digits = 0;
				return;
			case DATA_CR:
				this.state = code === CR ? DATA_LF : BROKEN;
				return;
			default:
				this.state = code === LF ? SIZE : BROKEN;
		}
	}

	private takeSize(code: number): void {
		const digit = HEX[code]!;
		if (digit < 16) {
			if (this.digits === 0) this.left = 0;
			this.left = this.left * 16 + digit;
			if (++this.digits > MAX_SIZE_DIGITS) this.state = BROKEN;
		} else if (this.digits === 0) this.state = BROKEN;
		else if (code === CR) this.state = SIZE_LF;
		else if (code === 0x3b) {
			this.extensions += this.extension + 1;
			this.extension = 0;
			this.state = this.extensions > MAX_EXTENSIONS_TOTAL ? BROKEN : EXTENSION;
		} else this.state = BROKEN;
	}

	private takeTrailer(bytes: Buffer, from: number, end: number): number {
		if (this.section === undefined && bytes[from] === CR && from + 1 < end && bytes[from + 1] === LF) {
			this.state = DONE;
			return from + 2;
		}
		const before = this.section?.length ?? 0;
		const arrived = bytes.subarray(from, Math.min(end, from + this.limits.headBytes + 1 - before));
		this.section = before === 0 ? Buffer.from(arrived) : Buffer.concat([this.section!, arrived]);
		// Only a line's end can change the answer, so a trickle of bytes is not read over and over.
		const fields = new FieldTable(this.limits.headFields);
		const next = arrived.includes(LF)
			? scanFields(this.section, 0, this.section.length, fields, this.limits.headFields)
			: INCOMPLETE;
		if (next === INCOMPLETE && this.section.length <= this.limits.headBytes) return end;
		if (next < 0 || next > this.limits.headBytes) {
			this.state = BROKEN;
			return end;
		}
		this.state = DONE;
		if (fields.count > 0) this.trailers = fields.list(this.section);
		return from + next - before;
	}
}

export const CRLF = "\r\n";

/** The line before a chunk's data. */
export function chunkLine(size: number): string {
	return `${size.toString(16)}\r\n`;
}
