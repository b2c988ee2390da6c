/** The request head (RFC 9112 §3): parsed strictly, kept as offsets, turned into strings only when asked. */
import type { RequestInfo } from "../../decision.js";
import { AwaitedRequest } from "../awaited.js";
import { AUTHORITY, CLASS, CR, equalsIgnoringCase, LF, latin1, PATH, QUERY, SP, TOKEN } from "./chars.js";
import { ConnectionOptions, namedField } from "./connection.js";
import {
	BAD,
	CONNECTION,
	CONTENT_LENGTH,
	EXPECT,
	FieldTable,
	type HeadLimits,
	HOST,
	INCOMPLETE,
	KNOWN_ID,
	parseCoding,
	parseLength,
	STRIDE,
	scanFields,
	TOO_LARGE,
	TRANSFER_ENCODING,
	UNKNOWN_CODING,
	UNKNOWN_VERSION,
	UPGRADE,
	VALUE_END,
	VALUE_START,
} from "./fields.js";

/** The length of a body whose end is told by chunked coding. */
export const CHUNKED = -1;

/** Shared by all parses: a head that outlives its event is detached from it. */
const scratch = new FieldTable(1024);

export class RequestHead extends AwaitedRequest implements RequestInfo {
	/** 0 or 1. */
	minor = 1;
	/** Where the head begins and ends in `bytes`, and where its field lines begin. */
	start = 0;
	fieldsStart = 0;
	end = 0;
	/** Bytes of body: 0 without one, CHUNKED, or the Content-Length. */
	bodyLength = 0;
	/** There is a Content-Length field. */
	hasLength = false;
	expectsContinue = false;
	upgrade = false;
	keepAlive = true;
	secure = false;
	peerAddress = "";
	fields = scratch;
	readonly connection = new ConnectionOptions();
	methodEnd = 0;
	targetStart = 0;
	targetEnd = 0;
	absolute = false;
	private authorityStart = 0;
	private authorityEnd = 0;
	private hostStart = 0;
	private hostEnd = -1;
	private upgradeStart = 0;
	private upgradeEnd = 0;
	private rawText: string | undefined;
	private methodText: string | undefined;

	constructor(readonly bytes: Buffer) {
		super();
	}

	/** Parses one head at `start`. The refusal or INCOMPLETE is a negative number. */
	static parse(bytes: Buffer, start: number, end: number, limits: HeadLimits): RequestHead | number {
		const head = new RequestHead(bytes);
		const failure = head.read(start, end, limits);
		return failure === 0 ? head : failure;
	}

	get method(): string {
		if (this.methodText === undefined) {
			this.methodText = isGet(this.bytes, this.start, this.methodEnd) ? "GET" : this.text(this.start, this.methodEnd);
		}
		return this.methodText;
	}

	/** Origin-form, or `*`. */
	get target(): string {
		if (this.targetStart === this.targetEnd) return "/";
		const target = this.text(this.targetStart, this.targetEnd);
		return this.absolute && target.startsWith("?") ? `/${target}` : target;
	}

	get authority(): string {
		return this.text(this.hostStart, this.hostEnd);
	}

	/** All of the head, one character per byte. */
	get raw(): string {
		this.rawText ??= latin1(this.bytes, this.start, this.end);
		return this.rawText;
	}

	get upgradeProtocol(): string {
		return this.text(this.upgradeStart, this.upgradeEnd);
	}

	/** A part of the head: the whole is turned into text anyway, to be forwarded. */
	private text(start: number, end: number): string {
		return this.raw.slice(start - this.start, end - this.start);
	}

	header(name: string): string | undefined {
		const { hash } = namedField(name);
		// RFC 6265 §5.4: a cookie's value may hold commas, so they cannot be what lies between two fields.
		const between = name === "cookie" ? "; " : ", ";
		let joined: string | undefined;
		for (let i = 0; i < this.fields.count; i++) {
			if (!this.fields.named(this.bytes, i, name, hash)) continue;
			const at = i * STRIDE;
			const value = this.text(this.fields.at[at + VALUE_START]!, this.fields.at[at + VALUE_END]!);
			joined = joined === undefined ? value : joined + between + value;
		}
		return joined;
	}

	/** Must be called before another head is parsed if this one is still to be read then. */
	detach(): void {
		if (this.fields === scratch) this.fields = scratch.snapshot();
	}

	private read(start: number, end: number, limits: HeadLimits): number {
		this.start = start;
		// RFC 9112 §2.2: one empty line before the request line is an old client's habit.
		if (end - start >= 2 && this.bytes[start] === CR && this.bytes[start + 1] === LF) this.start = start + 2;
		const limit = Math.min(end, this.start + limits.headBytes);
		let next = this.readStartLine(this.start, limit);
		if (next > 0) {
			this.fieldsStart = next;
			next = scanFields(this.bytes, next, limit, scratch, limits.headFields);
		}
		if (next === INCOMPLETE && limit - this.start >= limits.headBytes) return TOO_LARGE;
		if (next < 0) return next;
		this.end = next;
		return this.interpret();
	}

	/** Returns where the fields begin. */
	private readStartLine(start: number, end: number): number {
		const bytes = this.bytes;
		let i = start;
		while (i < end && (CLASS[bytes[i]!]! & TOKEN) !== 0) i++;
		if (i >= end) return INCOMPLETE;
		if (bytes[i] !== SP || i === start) return BAD;
		this.methodEnd = i++;
		this.targetStart = i;
		let allowed = PATH;
		for (; i < end; i++) {
			const code = bytes[i]!;
			if ((CLASS[code]! & allowed) === 0) break;
			if (code === 0x3f) allowed = QUERY;
		}
		if (i >= end) return INCOMPLETE;
		if (bytes[i] !== SP || i === this.targetStart) return BAD;
		this.targetEnd = i;
		return this.readVersion(i + 1, end);
	}

	private readVersion(start: number, end: number): number {
		const bytes = this.bytes;
		for (let i = 0; i < 10; i++) {
			if (start + i >= end) return INCOMPLETE;
			const code = bytes[start + i]!;
			const expected = VERSION_SHAPE[i]!;
			if (expected === DIGIT ? code < 0x30 || code > 0x39 : code !== expected) return BAD;
		}
		this.minor = bytes[start + 7]! - 0x30;
		if (bytes[start + 5] !== 0x31 || this.minor > 1) return UNKNOWN_VERSION;
		return start + 10;
	}

	private interpret(): number {
		const { fields, bytes, connection } = this;
		let chunked = false;
		let failure = 0;
		for (let i = 0; i < fields.count && failure === 0; i++) {
			const at = i * STRIDE;
			const known = fields.at[at + KNOWN_ID];
			if (known === 0) continue;
			const from = fields.at[at + VALUE_START]!;
			const to = fields.at[at + VALUE_END]!;
			if (known === HOST) {
				if (this.hostEnd >= 0 || !isAuthority(bytes, from, to)) return BAD;
				this.hostStart = from;
				this.hostEnd = to;
			} else if (known === CONTENT_LENGTH) {
				// A second one is refused even when it is equal: what a list of lengths means is disputed.
				if (this.hasLength) return BAD;
				this.hasLength = true;
				this.bodyLength = parseLength(bytes, from, to);
				if (this.bodyLength < 0) return BAD;
			} else if (known === TRANSFER_ENCODING) {
				failure = chunked ? BAD : parseCoding(bytes, from, to);
				chunked = true;
			} else if (known === CONNECTION) failure = connection.add(bytes, from, to);
			else if (known === UPGRADE) {
				this.upgradeStart = from;
				this.upgradeEnd = to;
			} else if (known === EXPECT) this.expectsContinue = equalsIgnoringCase(bytes, from, to, "100-continue");
		}
		if (failure !== 0 && failure !== UNKNOWN_CODING) return failure;
		if (this.hostEnd < 0 || (chunked && (this.hasLength || this.minor === 0))) return BAD;
		if (failure !== 0) return failure;
		if (chunked) this.bodyLength = CHUNKED;
		this.keepAlive = !connection.close && (this.minor === 1 || connection.keepAlive);
		// HTTP/2 over an upgrade would be requests that nobody checks: such an upgrade is not asked for (RFC 9110 §7.8 allows it).
		this.upgrade =
			connection.upgrade &&
			this.minor === 1 &&
			this.upgradeEnd > this.upgradeStart &&
			!/\bh2c?\b/i.test(this.upgradeProtocol);
		return this.readTargetForm();
	}

	private readTargetForm(): number {
		const { bytes, targetStart, targetEnd } = this;
		if (this.method === "CONNECT") return UNKNOWN_CODING;
		const first = bytes[targetStart];
		if (first === 0x2f) return 0;
		if (first === 0x2a) return targetEnd - targetStart === 1 && this.method === "OPTIONS" ? 0 : BAD;
		const scheme = equalsIgnoringCase(bytes, targetStart, targetStart + 7, "http://")
			? 7
			: equalsIgnoringCase(bytes, targetStart, targetStart + 8, "https://")
				? 8
				: 0;
		if (scheme === 0) return BAD;
		this.absolute = true;
		this.authorityStart = targetStart + scheme;
		let i = this.authorityStart;
		while (i < targetEnd && bytes[i] !== 0x2f && bytes[i] !== 0x3f) i++;
		this.authorityEnd = i;
		// RFC 9112 §3.2.2 lets the target win over Host; readers that do not know this would route elsewhere.
		const authority = latin1(bytes, this.authorityStart, this.authorityEnd).toLowerCase();
		if (!equalsIgnoringCase(bytes, this.hostStart, this.hostEnd, authority)) return BAD;
		this.targetStart = i;
		return 0;
	}
}

const DIGIT = 0x23;
const VERSION_SHAPE = new Uint8Array(Buffer.from("HTTP/#.#\r\n"));

function isAuthority(bytes: Uint8Array, start: number, end: number): boolean {
	for (let i = start; i < end; i++) if ((CLASS[bytes[i]!]! & AUTHORITY) === 0) return false;
	return end > start;
}

function isGet(bytes: Uint8Array, start: number, end: number): boolean {
	return end - start === 3 && bytes[start] === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54;
}
