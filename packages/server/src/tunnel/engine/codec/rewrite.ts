/**
 * Heads as they are forwarded. Fields keep their order, case, spacing and duplicates: what stays is copied in runs from
 * the head as it came, what goes is skipped (hop-by-hop fields, and the decision's `remove` and `set`).
 */
import type { ProxyDecision } from "../../decision.js";
import { CLASS, equalsFolded, foldName, HT, latin1, SP, VALUE } from "./chars.js";
import { CRLF, type Trailers } from "./chunked.js";
import { type NamedField, namedField } from "./connection.js";
import {
	CONTENT_LENGTH,
	EXPECT,
	FIRST_HOP,
	type FieldTable,
	HASH,
	KNOWN_ID,
	knownField,
	NAME_END,
	NAME_START,
	STRIDE,
	VALUE_END,
	VALUE_START,
} from "./fields.js";
import { CHUNKED, type RequestHead } from "./request-head.js";
import type { ResponseHead } from "./response-head.js";

type Edits = Pick<ProxyDecision, "remove" | "set">;

const SET_COOKIE: NamedField = namedField("set-cookie");

/** The fields that a message must lose, asked once per field. */
class Dropped {
	private readonly fields: (NamedField | undefined)[] = [];
	private count = 0;
	/** One bit per hash, so that most fields are let through after one test. */
	private bits = 0;
	/** The cookie that must not be set. */
	private cookie: string | undefined;

	reset(connection: readonly NamedField[] | undefined, edits: Edits | undefined, guardedCookie?: string): void {
		this.count = 0;
		this.bits = 0;
		this.cookie = guardedCookie;
		if (guardedCookie !== undefined) this.bits |= 1 << (SET_COOKIE.hash & 31);
		if (connection !== undefined) for (let i = 0; i < connection.length; i++) this.add(connection[i]!);
		if (edits === undefined) return;
		const { remove, set } = edits;
		for (let i = 0; i < remove.length; i++) this.add(namedField(remove[i]!));
		for (let i = 0; i < set.length; i++) this.add(namedField(set[i]![0]));
	}

	private add(field: NamedField): void {
		this.bits |= 1 << (field.hash & 31);
		this.fields[this.count++] = field;
	}

	has(bytes: Uint8Array, table: FieldTable, at: number): boolean {
		const hash = table.at[at + HASH]!;
		return (this.bits & (1 << (hash & 31))) !== 0 && this.find(bytes, table, at, hash);
	}

	private find(bytes: Uint8Array, table: FieldTable, at: number, hash: number): boolean {
		for (let i = 0; i < this.count; i++) {
			const field = this.fields[i]!;
			if (field.hash !== hash) continue;
			if (equalsFolded(bytes, table.at[at + NAME_START]!, table.at[at + NAME_END]!, field.name)) return true;
		}
		return hash === SET_COOKIE.hash && this.cookie !== undefined && this.sets(this.cookie, bytes, table, at);
	}

	private sets(cookie: string, bytes: Uint8Array, table: FieldTable, at: number): boolean {
		if (!equalsFolded(bytes, table.at[at + NAME_START]!, table.at[at + NAME_END]!, SET_COOKIE.name)) return false;
		return setsCookie(bytes, table.at[at + VALUE_START]!, table.at[at + VALUE_END]!, cookie);
	}

	hasName(name: string): boolean {
		const folded = foldName(name);
		for (let i = 0; i < this.count; i++) if (this.fields[i]!.name === folded) return true;
		return false;
	}
}

/**
 * Would a browser that gets this `Set-Cookie` send something back that reads as the cookie `name` (RFC 6265bis §5.6)? White
 * space around the name means nothing, and `=name=x` is a cookie without a name that goes back as `name=x`.
 */
function setsCookie(bytes: Uint8Array, start: number, end: number, name: string): boolean {
	let i = start;
	while (i < end && (bytes[i] === SP || bytes[i] === HT || bytes[i] === EQUALS)) i++;
	for (let at = 0; at < name.length; at++) if (i === end || bytes[i++] !== name.charCodeAt(at)) return false;
	while (i < end && (bytes[i] === SP || bytes[i] === HT)) i++;
	return i === end || bytes[i] === EQUALS || bytes[i] === SEMICOLON;
}

const EQUALS = 0x3d;
const SEMICOLON = 0x3b;

const dropped = new Dropped();

/** Anything else in a value could end the field or the head. */
function isSafe(value: string): boolean {
	for (let i = 0; i < value.length; i++) {
		const code = value.charCodeAt(i);
		if (code > 0xff || (CLASS[code]! & VALUE) === 0) return false;
	}
	return true;
}

/** The fields of a decision as head lines. A value that could break the head is refused: it can only be a bug of ours. */
export function fieldLines(fields: readonly (readonly [name: string, value: string])[]): string {
	let lines = "";
	for (let i = 0; i < fields.length; i++) {
		const [name, value] = fields[i]!;
		if (!isSafe(value)) throw new TypeError(`the field ${name} holds a character that HTTP does not allow`);
		lines += `${name}: ${value}\r\n`;
	}
	return lines;
}

/**
 * What stays of `raw`, whose character 0 is the byte `origin`, from the byte `from` to `to`: without the lines of hop-by-hop
 * fields, of what `dropped` names, and of one known field. The lines of `table` end at `linesEnd`.
 */
function keptText(
	raw: string,
	origin: number,
	bytes: Uint8Array,
	table: FieldTable,
	from: number,
	linesEnd: number,
	to: number,
	without: number,
): string {
	let text = "";
	let run = from;
	const { at } = table;
	const end = table.count * STRIDE;
	for (let field = 0; field < end; field += STRIDE) {
		const known = at[field + KNOWN_ID]!;
		if (known < FIRST_HOP && (known === 0 || known !== without) && !dropped.has(bytes, table, field)) continue;
		const lineStart = at[field + NAME_START]!;
		if (lineStart > run) text += raw.slice(run - origin, lineStart - origin);
		run = field + STRIDE < end ? at[field + STRIDE + NAME_START]! : linesEnd;
	}
	if (run === origin && to - origin === raw.length) return raw;
	return text + raw.slice(run - origin, to - origin);
}

/** The head that the box gets. */
export function forwardedRequestHead(head: RequestHead, edits: Edits): string {
	const { fields, bytes, start, end } = head;
	dropped.reset(head.connection.named, edits);
	const oldClient = head.minor === 0;
	// The request line is part of the first run unless it changes.
	const asIs = !oldClient && !head.absolute;
	const from = asIs ? start : head.fieldsStart;
	// RFC 9110 §10.1.1: from an HTTP/1.0 client the expectation is ignored.
	const lines = keptText(head.raw, start, bytes, fields, from, end - 2, end - 2, oldClient ? EXPECT : 0);
	let text = asIs ? lines : `${head.method} ${head.target} HTTP/1.1\r\n${lines}`;
	text += fieldLines(edits.set);
	if (head.bodyLength === CHUNKED) text += "Transfer-Encoding: chunked\r\n";
	if (head.upgrade) text += `Connection: Upgrade\r\nUpgrade: ${head.upgradeProtocol}\r\n`;
	return text + CRLF;
}

/**
 * The head that an HTTP/1.1 client gets. `framing` is what its body will be sent with: a length (the box's own field
 * stays), CHUNKED or UNTIL_CLOSE. `connection` is a whole `Connection` line or nothing. `guardedCookie` is not set. What lies
 * between the end of the head and `until` is body to be sent as it is.
 */
export function forwardedResponseHead(
	head: ResponseHead,
	framing: number,
	connection: string,
	guardedCookie: string | undefined,
	until = head.end,
): string {
	const { bytes, fields, start, end } = head;
	dropped.reset(head.connection.named, undefined, guardedCookie);
	const raw = latin1(bytes, start, until);
	const modern = head.minor === 1;
	const from = modern ? start : head.fieldsStart;
	// RFC 9110 §8.6: none in 1xx and 204.
	const without = head.status < 200 || head.status === 204 ? CONTENT_LENGTH : 0;
	// Nothing to be put between: what stays of the head and the body are one run.
	if (modern && framing !== CHUNKED && connection === "") {
		return keptText(raw, start, bytes, fields, from, end - 2, until, without);
	}
	const lines = keptText(raw, start, bytes, fields, from, end - 2, end - 2, without);
	const line = modern ? "" : `HTTP/1.1${raw.slice(8, head.fieldsStart - start)}`;
	const coding = framing === CHUNKED ? "Transfer-Encoding: chunked\r\n" : "";
	return `${line}${lines}${coding}${connection}${raw.slice(end - 2 - start)}`;
}

/** `Connection: Upgrade` with the box's `Upgrade` in place. */
export function switchingResponseHead(head: ResponseHead, more: string, guardedCookie: string | undefined): string {
	const protocol = latin1(head.bytes, head.upgradeStart, head.upgradeEnd);
	return forwardedResponseHead(head, 0, `${more}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`, guardedCookie);
}

/** The fields that go on, one by one; for HTTP/2, which has no head text. */
export function eachForwardedField(
	head: ResponseHead,
	guardedCookie: string | undefined,
	visit: (name: string, value: string) => void,
): void {
	const { bytes, fields } = head;
	dropped.reset(head.connection.named, undefined, guardedCookie);
	const noLength = head.status < 200 || head.status === 204;
	for (let i = 0; i < fields.count; i++) {
		const at = i * STRIDE;
		const known = fields.at[at + KNOWN_ID]!;
		if (known >= FIRST_HOP || (known === CONTENT_LENGTH && noLength) || dropped.has(bytes, fields, at)) continue;
		visit(
			latin1(bytes, fields.at[at + NAME_START]!, fields.at[at + NAME_END]!),
			latin1(bytes, fields.at[at + VALUE_START]!, fields.at[at + VALUE_END]!),
		);
	}
}

/** RFC 9110 §6.5.1: a trailer must not carry what frames, routes or authenticates the message it ends. */
const NEVER_IN_TRAILERS = new Set([
	"host",
	"content-length",
	"content-encoding",
	"content-type",
	"content-range",
	"authorization",
	"cookie",
	"set-cookie",
	"expect",
	"max-forwards",
	"cache-control",
	"range",
	"age",
	"date",
	"expires",
	"location",
	"retry-after",
	"vary",
	"www-authenticate",
]);

/** The trailer fields that may be forwarded. */
export function forwardedTrailers(trailers: Trailers | undefined, edits: Edits | undefined): Trailers {
	if (trailers === undefined) return NO_TRAILERS;
	dropped.reset(undefined, edits);
	return trailers.filter(([name]) => {
		const lower = name.toLowerCase();
		return knownField(lower) < FIRST_HOP && !NEVER_IN_TRAILERS.has(lower) && !dropped.hasName(lower);
	});
}

const NO_TRAILERS: Trailers = [];

/** The end of a chunked body. */
export function lastChunk(trailers: Trailers): string {
	return `0${CRLF}${fieldLines(trailers)}${CRLF}`;
}

/** May a request head that came over HTTP/2 keep this field? (`edits` as for HTTP/1.1.) */
export function dropsFields(edits: Edits): (lower: string) => boolean {
	dropped.reset(undefined, edits);
	return (lower) => dropped.hasName(lower);
}
