/**
 * Header fields as a proxy passes them on. A field list is flat, `[name, value, name, value, …]`, as on the wire:
 * order, case and duplicates are kept. Pure: no I/O.
 */
export type RawFields = readonly string[];

type Field = readonly [name: string, value: string];

/** RFC 9110 7.6.1 and DESIGN.md "Tunnels"; `Proxy-Connection` is an old mistake that some clients still make. */
const hopByHop: ReadonlySet<string> = new Set([
	"connection",
	"keep-alive",
	"proxy-authenticate",
	"proxy-authorization",
	"proxy-connection",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
]);

/** `Connection: content-length` would change where a message ends (request smuggling), `Connection: host` whom it is for. */
const notNominable: ReadonlySet<string> = new Set(["content-length", "host"]);

/** Trailers that some servers merge into the header fields, after every check was made. */
const notInTrailers: ReadonlySet<string> = new Set([
	"authorization",
	"content-encoding",
	"content-length",
	"content-range",
	"content-type",
	"cookie",
	"host",
	"set-cookie",
]);

export function* pairs(fields: RawFields): Generator<Field> {
	for (let i = 0; i + 1 < fields.length; i += 2) yield [fields[i]!, fields[i + 1]!];
}

/** The value of a field, several joined with ", "; undefined when absent. `name` in lower case. */
export function joined(fields: RawFields, name: string): string | undefined {
	let value: string | undefined;
	for (const [given, text] of pairs(fields)) {
		if (given.length === name.length && given.toLowerCase() === name)
			value = value === undefined ? text : `${value}, ${text}`;
	}
	return value;
}

export interface RequestRules {
	/** Lower case. */
	readonly remove: readonly string[];
	/** Replace what the client sent under the same name. */
	readonly set: readonly Field[];
	/** How the body travels on: with its own length, in chunks, or not at all though the method may have one. */
	readonly body: "as-is" | "chunked" | "empty";
	readonly upgrade: boolean;
}

/** What the box sees of the client's fields. */
export function requestFields(fields: RawFields, rules: RequestRules): string[] {
	const dropped = new Set([...nominated(fields), ...rules.remove, ...rules.set.map(([name]) => name.toLowerCase())]);
	if (rules.body !== "as-is") dropped.add("content-length");
	const out: string[] = [];
	for (const [name, value] of pairs(fields)) {
		const lower = name.toLowerCase();
		if (rules.upgrade && lower === "upgrade") out.push(name, value);
		else if (!hopByHop.has(lower) && !dropped.has(lower)) out.push(name, value);
	}
	for (const [name, value] of rules.set) out.push(name, value);
	if (rules.body === "chunked") out.push("Transfer-Encoding", "chunked");
	if (rules.body === "empty") out.push("Content-Length", "0");
	if (rules.upgrade) out.push("Connection", "Upgrade");
	return out;
}

/** What the client sees of the box's fields. */
export function responseFields(fields: RawFields, set: readonly Field[]): string[] {
	const dropped = new Set([...nominated(fields), ...set.map(([name]) => name.toLowerCase())]);
	// RFC 9112 6.3: with a transfer coding the length means nothing, and repeating it invites response splitting.
	if (joined(fields, "transfer-encoding") !== undefined) dropped.add("content-length");
	const out: string[] = [];
	for (const [name, value] of pairs(fields)) {
		const lower = name.toLowerCase();
		if (!hopByHop.has(lower) && !dropped.has(lower)) out.push(name, value);
	}
	for (const [name, value] of set) out.push(name, value);
	return out;
}

/** Trailers, without those that would pass for header fields we vouch for or took out. */
export function trailerFields(fields: RawFields, forbidden: readonly string[]): Field[] {
	return [...pairs(fields)].filter(([name]) => {
		const lower = name.toLowerCase();
		return !hopByHop.has(lower) && !notInTrailers.has(lower) && !forbidden.includes(lower);
	});
}

/** An HTTP/2 request's fields as HTTP/1.1 has them (RFC 9113 8.3.1: `:authority` is the Host; 8.2.3: one Cookie). */
export function fieldsOfHttp2(fields: RawFields, authority: string): string[] {
	const out = ["host", authority];
	const cookies: string[] = [];
	for (const [name, value] of pairs(fields)) {
		if (name.startsWith(":") || name === "host") continue;
		if (name === "cookie") cookies.push(value);
		else out.push(name, value);
	}
	if (cookies.length > 0) out.push("cookie", cookies.join("; "));
	return out;
}

function nominated(fields: RawFields): string[] {
	return (joined(fields, "connection") ?? "")
		.split(",")
		.map((name) => name.trim().toLowerCase())
		.filter((name) => name !== "" && !notNominable.has(name));
}
