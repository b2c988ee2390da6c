/**
 * The field section of a head (RFC 9112 §5), read by the letter: `name ":" OWS value OWS CRLF`, nothing else. Fields
 * are kept as offsets into the bytes they were read from; nothing is copied.
 */
import { CLASS, COLON, CR, equalsIgnoringCase, FOLD, HT, hashName, LF, latin1, SP, TOKEN, VALUE } from "./chars.js";

/** More bytes are needed. */
export const INCOMPLETE = -1;
/** Other negative results are the status to refuse with, negated: -400, -431, -501, -505. */
export const BAD = -400;
export const TOO_LARGE = -431;
export const UNKNOWN_CODING = -501;
export const UNKNOWN_VERSION = -505;

export interface HeadLimits {
	/** Bytes of a head, start line and final CRLF included. */
	readonly headBytes: number;
	readonly headFields: number;
}

/** Fields that framing and forwarding ask about, numbered so that a scan finds them once. */
export const HOST = 1;
export const CONTENT_LENGTH = 2;
export const EXPECT = 3;
/** From here on hop-by-hop: never forwarded (RFC 9110 §7.6.1). */
export const FIRST_HOP = 4;
export const TRANSFER_ENCODING = 4;
export const CONNECTION = 5;
export const UPGRADE = 6;
export const KEEP_ALIVE = 7;

/** Tells the client, and the box, under which id the request is known here. */
export const REQUEST_ID = "x-runloop-request-id";

const KNOWN: readonly string[] = [
	"",
	"host",
	"content-length",
	"expect",
	"transfer-encoding",
	"connection",
	"upgrade",
	"keep-alive",
	"te",
	"trailer",
	"proxy-authorization",
	"proxy-authenticate",
	"proxy-connection",
	// Not of the hop, but never passed on either.
	REQUEST_ID,
];

const knownByHash = new Uint8Array(1024);
const knownHashes = KNOWN.map(hashName);
for (let id = 1; id < KNOWN.length; id++) {
	const slot = knownHashes[id]! & 1023;
	if (knownByHash[slot] !== 0) throw new TypeError("known field names must not share a slot");
	knownByHash[slot] = id;
}

/** The number of a known name, 0 for any other. */
export function knownField(lower: string): number {
	const id = knownByHash[hashName(lower) & 1023]!;
	return KNOWN[id] === lower ? id : 0;
}

/** Integers per field in a table. */
export const STRIDE = 6;
export const NAME_START = 0;
export const NAME_END = 1;
export const VALUE_START = 2;
export const VALUE_END = 3;
export const HASH = 4;
export const KNOWN_ID = 5;

export class FieldTable {
	count = 0;
	at: Int32Array;

	constructor(fields: number) {
		this.at = new Int32Array(fields * STRIDE);
	}

	/** A copy that later scans do not overwrite. */
	snapshot(): FieldTable {
		const copy = new FieldTable(0);
		copy.count = this.count;
		copy.at = this.at.slice(0, this.count * STRIDE);
		return copy;
	}

	/** The fields as text. */
	list(bytes: Buffer): [name: string, value: string][] {
		const list: [string, string][] = [];
		for (let at = 0; at < this.count * STRIDE; at += STRIDE) {
			const name = latin1(bytes, this.at[at]!, this.at[at + NAME_END]!);
			list.push([name, latin1(bytes, this.at[at + VALUE_START]!, this.at[at + VALUE_END]!)]);
		}
		return list;
	}

	/** Is field `index` named `lower`? `hash` is `hashName(lower)`. */
	named(bytes: Uint8Array, index: number, lower: string, hash: number): boolean {
		const at = index * STRIDE;
		return (
			this.at[at + HASH] === hash &&
			equalsIgnoringCase(bytes, this.at[at + NAME_START]!, this.at[at + NAME_END]!, lower)
		);
	}
}

/**
 * Reads fields from `start` up to and including the empty line. Returns the position after it, INCOMPLETE, or a
 * refusal. Field lines lie next to each other: line i ends where line i + 1 begins.
 */
export function scanFields(bytes: Uint8Array, start: number, end: number, table: FieldTable, most: number): number {
	const at = table.at;
	let count = 0;
	let i = start;
	for (;;) {
		if (i >= end) return INCOMPLETE;
		const nameStart = i;
		let code = bytes[i]!;
		if (code === CR) {
			if (i + 1 >= end) return INCOMPLETE;
			if (bytes[i + 1] !== LF) return BAD;
			table.count = count;
			return i + 2;
		}
		let hash = 0;
		while ((CLASS[code]! & TOKEN) !== 0) {
			hash = (Math.imul(hash, 31) + FOLD[code]!) | 0;
			if (++i >= end) return INCOMPLETE;
			code = bytes[i]!;
		}
		// A space before the colon, a folded line (it begins with a space) and a bare LF all end here.
		if (code !== COLON || i === nameStart) return BAD;
		if (count === most) return TOO_LARGE;
		const nameEnd = i++;
		while (i < end && (bytes[i] === SP || bytes[i] === HT)) i++;
		const valueStart = i;
		while (i < end && (CLASS[bytes[i]!]! & VALUE) !== 0) i++;
		if (i >= end) return INCOMPLETE;
		if (bytes[i] !== CR) return BAD;
		if (i + 1 >= end) return INCOMPLETE;
		if (bytes[i + 1] !== LF) return BAD;
		let valueEnd = i;
		while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HT)) valueEnd--;
		const known = knownByHash[hash & 1023]!;
		const field = count++ * STRIDE;
		at[field] = nameStart;
		at[field + NAME_END] = nameEnd;
		at[field + VALUE_START] = valueStart;
		at[field + VALUE_END] = valueEnd;
		at[field + HASH] = hash;
		at[field + KNOWN_ID] =
			known !== 0 && hash === knownHashes[known] && equalsIgnoringCase(bytes, nameStart, nameEnd, KNOWN[known]!)
				? known
				: 0;
		i += 2;
	}
}

/** A tab after a value that frames a message: legal, and refused by some readers (llhttp). */
function endsInTab(bytes: Uint8Array, end: number): boolean {
	let i = end;
	while (bytes[i] === SP) i++;
	return bytes[i] === HT;
}

/** A Content-Length: digits alone, small enough to count exactly. BAD otherwise. */
export function parseLength(bytes: Uint8Array, start: number, end: number): number {
	if (end === start || end - start > 15 || endsInTab(bytes, end)) return BAD;
	let length = 0;
	for (let i = start; i < end; i++) {
		const digit = bytes[i]! - 0x30;
		if (digit < 0 || digit > 9) return BAD;
		length = length * 10 + digit;
	}
	return length;
}

/** A Transfer-Encoding: 0 for exactly `chunked`, else a refusal. A list is never taken apart: readers differ there. */
export function parseCoding(bytes: Buffer, start: number, end: number): number {
	if (endsInTab(bytes, end)) return BAD;
	if (equalsIgnoringCase(bytes, start, end, "chunked")) return 0;
	const codings = latin1(bytes, start, end).toLowerCase().split(",");
	const last = codings.pop()?.trim();
	const others = codings.map((coding) => coding.trim());
	return last === "chunked" && others.length > 0 && others.every((coding) => UNDERSTOOD_NOWHERE.has(coding))
		? UNKNOWN_CODING
		: BAD;
}

const UNDERSTOOD_NOWHERE = new Set(["gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"]);
