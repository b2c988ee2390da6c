import { isIP } from "node:net";
import { resolve } from "node:path";
import { isApiKey, parseMasterKeys } from "./secrets.js";

/** How the text of a setting becomes its value. */
export interface Kind<T> {
	/** Placeholder in help texts; undefined for a switch, which as a flag takes no value. */
	readonly placeholder: string | undefined;
	/** Completes the line "…; allowed: …". */
	readonly allowed: string;
	/** Its values are never printed. */
	readonly secret?: boolean;
	/** Several values, separated by commas; in the file also a YAML list. */
	readonly list?: boolean;
	/** Throws `Refused`. Relative paths count from `directory`. */
	parse(text: string, directory: string): T;
}

/** Why a text is no value of its setting: completes "<the value> …". Does not leave this folder. */
export class Refused extends Error {}

function refuse(problem = "is not allowed"): never {
	throw new Refused(problem);
}

export function wholeNumber(min: number, max: number, note = ""): Kind<number> {
	return {
		placeholder: "number",
		allowed: `a whole number from ${min} to ${max}${note}`,
		parse: (text) => {
			const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
			return number >= min && number <= max ? number : refuse();
		},
	};
}

export const port = wholeNumber(0, 65535, " (0: any free port)");

export function oneOf<const T extends string>(...choices: readonly T[]): Kind<T> {
	return {
		placeholder: "choice",
		allowed: choices.join(", "),
		parse: (text) => choices.find((choice) => choice === text) ?? refuse(),
	};
}

export const trueOrFalse: Kind<boolean> = {
	placeholder: undefined,
	allowed: "true, false",
	parse: (text) => (text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : refuse()),
};

export const path: Kind<string> = {
	placeholder: "path",
	allowed: "a path",
	parse: (text, directory) => (text === "" || text.includes("\0") ? refuse() : resolve(directory, text)),
};

export const address: Kind<string> = {
	placeholder: "address",
	allowed: "an IPv4 or IPv6 address without a zone",
	parse: (text) => (isIP(text) && !text.includes("%") ? text : refuse()),
};

/** `<port>-<tunnel key>.tunnel.` stands before it in the longest names. */
const MAX_DOMAIN = 253 - "65535-abcdefghijklmnopqrstuvwxyz.tunnel.".length;

export const domainName: Kind<string> = {
	placeholder: "domain",
	allowed: `a DNS name of up to ${MAX_DOMAIN} characters, such as boxes.example.com (international names as xn--…)`,
	parse: (text) => {
		const name = text.toLowerCase();
		return isDnsName(name) && name.length <= MAX_DOMAIN ? name : refuse();
	},
};

export const host: Kind<string> = {
	placeholder: "host",
	allowed: "a DNS name or an IP address, without a port",
	parse: (text) => {
		const name = text.toLowerCase();
		return isIP(name) || isDnsName(name) ? name : refuse();
	},
};

/** Labels as RFC 1123, section 2.1, has them; the last one is not a number, so that no address passes as a name. */
function isDnsName(text: string): boolean {
	const labels = text.split(".");
	if (text.length > 253 || /^\d+$/.test(labels.at(-1) ?? "")) return false;
	return labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label));
}

export const network: Kind<string> = {
	placeholder: "network",
	allowed: "an IP address or a CIDR block such as 10.0.0.0/8",
	parse: (text) => {
		const [base = "", prefix, ...rest] = text.split("/");
		const version = isIP(base);
		if (version === 0 || rest.length > 0 || base.includes("%")) refuse();
		const longest = version === 4 ? 32 : 128;
		if (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= longest)) refuse();
		return text;
	},
};

/** None or several; the empty text is none. */
export function listOf<T>(one: Kind<T>): Kind<readonly T[]> {
	return {
		placeholder: `${one.placeholder},…`,
		allowed: `a list separated by commas, each ${one.allowed}`,
		list: true,
		parse: (text, directory) =>
			Object.freeze(text.trim() === "" ? [] : text.split(",").map((part) => one.parse(part.trim(), directory))),
	};
}

/** None by default; once set it has a value. */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
	return kind;
}

export const databaseUrl: Kind<string> = {
	placeholder: "url",
	allowed: "sqlite:<path> or unset",
	// A URL may carry a password.
	secret: true,
	parse: (text, directory) => {
		if (/^postgres(ql)?:/i.test(text)) refuse("names PostgreSQL, which is not available yet");
		const file = /^sqlite:(?:\/\/(?=\/))?(.+)$/.exec(text)?.[1];
		return file === undefined || file === ":memory:" ? refuse() : `sqlite:${path.parse(file, directory)}`;
	},
};

export const masterKey: Kind<string> = {
	placeholder: "key",
	allowed:
		"base64 or hex of 32 bytes, as `openssl rand -base64 32` prints; several separated by commas, the current one first",
	secret: true,
	list: true,
	parse: (text) => (parseMasterKeys(text) ? text : refuse()),
};

export const apiKey: Kind<string> = {
	placeholder: "key",
	allowed: "20 to 256 letters, digits or ._~+/-=",
	secret: true,
	parse: (text) => (isApiKey(text) ? text : refuse()),
};
