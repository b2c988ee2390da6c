/** Character classes of RFC 9110 and RFC 3986 as one table, and the few byte helpers that the codecs share. */

export const CR = 0x0d;
export const LF = 0x0a;
export const SP = 0x20;
export const HT = 0x09;
export const COLON = 0x3a;

/** tchar (RFC 9110 §5.6.2). */
export const TOKEN = 1;
/** What a field value may hold: VCHAR, SP, HTAB, obs-text (RFC 9110 §5.5). */
export const VALUE = 2;
/** What the path of a request target may hold. Wider than RFC 3986 by what browsers send unescaped; no `\`, which some readers take for `/`. */
export const PATH = 4;
/** The same after the `?`, where `\` means nothing to anybody. */
export const QUERY = 8;
/** What an authority may hold: names, IPv4, bracketed IPv6, a port. No userinfo. */
export const AUTHORITY = 16;

export const CLASS = new Uint8Array(256);

function mark(flag: number, characters: string): void {
	for (const character of characters) CLASS[character.charCodeAt(0)]! |= flag;
}

const ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
mark(TOKEN, `${ALPHANUMERIC}!#$%&'*+-.^_\`|~`);
mark(PATH | QUERY, `${ALPHANUMERIC}-._~:/?@!$&'()*+,;=%[]{}|^\``);
mark(QUERY, "\\");
mark(AUTHORITY, `${ALPHANUMERIC}-._~:[]`);
for (let code = 0x20; code < 0x100; code++) if (code !== 0x7f) CLASS[code]! |= VALUE;
CLASS[HT]! |= VALUE;

/** Hexadecimal digit to its value, 255 for anything else. */
export const HEX = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) {
	HEX[digit.toString(16).charCodeAt(0)] = digit;
	HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/** Is `bytes[start, end)` the ASCII string `lower`, in any case? */
export function equalsIgnoringCase(bytes: Uint8Array, start: number, end: number, lower: string): boolean {
	if (end - start !== lower.length) return false;
	for (let i = 0; i < lower.length; i++) {
		let code = bytes[start + i]!;
		if (code >= 0x41 && code <= 0x5a) code |= 0x20;
		if (code !== lower.charCodeAt(i)) return false;
	}
	return true;
}

/**
 * Lower case, and `_` as `-`: CGI and WSGI servers cannot tell `X_Real_IP` from `X-Real-IP`, so a field that must not
 * reach the box must not reach it under that spelling either.
 */
export const FOLD = new Uint8Array(256);
for (let code = 0; code < 256; code++) FOLD[code] = code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
FOLD[0x5f] = 0x2d;

/** Is `bytes[start, end)` the folded name `folded`? */
export function equalsFolded(bytes: Uint8Array, start: number, end: number, folded: string): boolean {
	if (end - start !== folded.length) return false;
	for (let i = 0; i < folded.length; i++) if (FOLD[bytes[start + i]!] !== folded.charCodeAt(i)) return false;
	return true;
}

/** The hash that the field scanner computes of a name while it reads it. */
export function hashName(name: string): number {
	let hash = 0;
	for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + FOLD[name.charCodeAt(i) & 255]!) | 0;
	return hash;
}

export function foldName(name: string): string {
	return name.toLowerCase().replaceAll("_", "-");
}

/** Bytes as text, one character for each: what it is turned back from loses nothing. */
export function latin1(bytes: Buffer, start: number, end: number): string {
	return bytes.toString("latin1", start, end);
}
