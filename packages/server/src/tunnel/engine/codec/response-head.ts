/** The response head (RFC 9112 §4), parsed as strictly as a request's: a box is no more to be trusted than a client. */
import { CLASS, CR, equalsIgnoringCase, LF, latin1, SP, VALUE } from "./chars.js";
import { ConnectionOptions } from "./connection.js";
import {
	BAD,
	CONNECTION,
	CONTENT_LENGTH,
	FieldTable,
	type HeadLimits,
	INCOMPLETE,
	KEEP_ALIVE,
	KNOWN_ID,
	parseCoding,
	parseLength,
	STRIDE,
	scanFields,
	TOO_LARGE,
	TRANSFER_ENCODING,
	UPGRADE,
	VALUE_END,
	VALUE_START,
} from "./fields.js";
import { CHUNKED } from "./request-head.js";

/** The body goes on until the connection closes. */
export const UNTIL_CLOSE = -2;

const NOTHING = Buffer.alloc(0);

/** One object is used again for every response of an engine: valid only until the next parse. */
export class ResponseHead {
	bytes: Buffer = NOTHING;
	start = 0;
	fieldsStart = 0;
	end = 0;
	minor = 1;
	status = 0;
	/** Bytes of body: a count, CHUNKED or UNTIL_CLOSE; 0 when the status or the method allows none. */
	bodyLength = 0;
	/** The status or the method allows no body. */
	bodiless = false;
	/** The connection may carry another request. */
	keepAlive = true;
	/** `Keep-Alive: timeout=` in seconds, 0 when not told. */
	keepAliveSeconds = 0;
	upgradeStart = 0;
	upgradeEnd = 0;
	readonly fields = new FieldTable(1024);
	readonly connection = new ConnectionOptions();

	/** Returns the position after the head, INCOMPLETE, or a refusal. */
	parse(bytes: Buffer, start: number, end: number, limits: HeadLimits, method: string): number {
		this.bytes = bytes;
		this.start = start;
		const limit = Math.min(end, start + limits.headBytes);
		let next = this.readStatusLine(start, limit);
		if (next > 0) {
			this.fieldsStart = next;
			next = scanFields(bytes, next, limit, this.fields, limits.headFields);
		}
		if (next === INCOMPLETE && limit - start >= limits.headBytes) return TOO_LARGE;
		if (next < 0) return next;
		this.end = next;
		const failure = this.interpret(method);
		return failure < 0 ? failure : next;
	}

	get reason(): string {
		return latin1(this.bytes, this.start + 13, Math.max(this.start + 13, this.fieldsStart - 2));
	}

	private readStatusLine(start: number, end: number): number {
		const bytes = this.bytes;
		for (let i = 0; i < 12; i++) {
			if (start + i >= end) return INCOMPLETE;
			const code = bytes[start + i]!;
			const expected = STATUS_SHAPE[i]!;
			if (expected === DIGIT ? code < 0x30 || code > 0x39 : code !== expected) return BAD;
		}
		this.minor = bytes[start + 7]! - 0x30;
		if (this.minor > 1) return BAD;
		this.status = (bytes[start + 9]! - 0x30) * 100 + (bytes[start + 10]! - 0x30) * 10 + (bytes[start + 11]! - 0x30);
		// RFC 9110 §15: other codes are invalid and to be taken for a server error; HTTP/2 libraries do not even send them.
		if (this.status < 100 || this.status > 599) return BAD;
		let i = start + 12;
		if (i >= end) return INCOMPLETE;
		// A reason may be missing and with it, in many servers, the space before it; nobody reads that differently.
		if (bytes[i] === SP) while (i < end && (CLASS[bytes[i]!]! & VALUE) !== 0) i++;
		if (i + 1 >= end) return i < end && bytes[i] !== CR ? BAD : INCOMPLETE;
		return bytes[i] === CR && bytes[i + 1] === LF ? i + 2 : BAD;
	}

	private interpret(method: string): number {
		const { fields, bytes, connection } = this;
		connection.reset();
		this.keepAliveSeconds = 0;
		this.upgradeEnd = this.upgradeStart = 0;
		let length = UNTIL_CLOSE;
		let chunked = false;
		for (let i = 0; i < fields.count; i++) {
			const at = i * STRIDE;
			const known = fields.at[at + KNOWN_ID];
			if (known === 0) continue;
			const from = fields.at[at + VALUE_START]!;
			const to = fields.at[at + VALUE_END]!;
			if (known === CONTENT_LENGTH) {
				if (length !== UNTIL_CLOSE) return BAD;
				length = parseLength(bytes, from, to);
				if (length < 0) return BAD;
			} else if (known === TRANSFER_ENCODING) {
				if (chunked || parseCoding(bytes, from, to) !== 0) return BAD;
				chunked = true;
			} else if (known === CONNECTION) {
				if (connection.add(bytes, from, to) !== 0) return BAD;
			} else if (known === UPGRADE) {
				this.upgradeStart = from;
				this.upgradeEnd = to;
			} else if (known === KEEP_ALIVE) this.keepAliveSeconds = parseTimeout(latin1(bytes, from, to));
		}
		if (chunked && (length !== UNTIL_CLOSE || this.minor === 0)) return BAD;
		this.frame(method, chunked ? CHUNKED : length);
		return 0;
	}

	/** RFC 9112 §6.3. */
	private frame(method: string, told: number): void {
		const { status } = this;
		this.bodiless = method === "HEAD" || status < 200 || status === 204 || status === 304;
		this.bodyLength = this.bodiless ? 0 : told;
		this.keepAlive =
			this.bodyLength !== UNTIL_CLOSE && !this.connection.close && (this.minor === 1 || this.connection.keepAlive);
	}

	/** Does the box switch to a protocol that the client asked for? */
	switchesTo(asked: string): boolean {
		const answer = latin1(this.bytes, this.upgradeStart, this.upgradeEnd).toLowerCase();
		if (!this.connection.upgrade || answer === "") return false;
		return asked
			.toLowerCase()
			.split(",")
			.some((protocol) => equalsIgnoringCase(this.bytes, this.upgradeStart, this.upgradeEnd, protocol.trim()));
	}
}

const DIGIT = 0x23;
const STATUS_SHAPE = new Uint8Array(Buffer.from("HTTP/1.# ###"));

function parseTimeout(value: string): number {
	const match = /(?:^|[\s,;])timeout=(\d{1,6})/i.exec(value);
	return match === null ? 0 : Number(match[1]);
}
