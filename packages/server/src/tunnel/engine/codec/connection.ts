/** The `Connection` field: what it asks for and which other fields it makes hop-by-hop (RFC 9110 §7.6.1). */
import { CLASS, equalsIgnoringCase, foldName, hashName, latin1, TOKEN } from "./chars.js";
import { BAD, CONTENT_LENGTH, HOST, knownField } from "./fields.js";

export class ConnectionOptions {
	close = false;
	keepAlive = false;
	upgrade = false;
	/** Other names, lower case. */
	named: NamedField[] | undefined;

	reset(): void {
		this.close = false;
		this.keepAlive = false;
		this.upgrade = false;
		this.named = undefined;
	}

	/** Adds one field value. Returns 0 or BAD. */
	add(bytes: Buffer, start: number, end: number): number {
		if (equalsIgnoringCase(bytes, start, end, "keep-alive")) this.keepAlive = true;
		else if (equalsIgnoringCase(bytes, start, end, "close")) this.close = true;
		else if (equalsIgnoringCase(bytes, start, end, "upgrade")) this.upgrade = true;
		else return this.addList(latin1(bytes, start, end).toLowerCase());
		return 0;
	}

	private addList(value: string): number {
		for (const part of value.split(",")) {
			const name = part.trim();
			if (name === "") continue;
			if (!isToken(name)) return BAD;
			if (name === "close") this.close = true;
			else if (name === "keep-alive") this.keepAlive = true;
			else if (name === "upgrade") this.upgrade = true;
			else {
				// Naming these would make the next reader frame or route the message differently than we did.
				const known = knownField(name);
				if (known === HOST || known === CONTENT_LENGTH) return BAD;
				this.named ??= [];
				this.named.push(newNamedField(name));
			}
		}
		return 0;
	}
}

export interface NamedField {
	readonly name: string;
	readonly hash: number;
}

export function isToken(text: string): boolean {
	for (let i = 0; i < text.length; i++) {
		const code = text.charCodeAt(i);
		if (code > 0x7f || (CLASS[code]! & TOKEN) === 0) return false;
	}
	return text.length > 0;
}

const CACHE_MOST = 4096;
const cache = new Map<string, NamedField>();

/** For names that come from code, not from clients: few exist; the bound is for the day that this is no longer true. */
export function namedField(name: string): NamedField {
	let field = cache.get(name);
	if (field === undefined) {
		field = newNamedField(name);
		if (cache.size >= CACHE_MOST) cache.clear();
		cache.set(name, field);
	}
	return field;
}

function newNamedField(name: string): NamedField {
	return { name: foldName(name), hash: hashName(name) };
}
