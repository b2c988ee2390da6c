import type { Field } from "./forwarding.js";

/**
 * `__Host-`: browsers take it only from its own host, over TLS (or on localhost), for all paths; so that neither another
 * devbox nor a page without TLS can plant one (draft-ietf-httpbis-rfc6265bis, 4.1.3.2).
 */
export const cookieName = "__Host-gangway";

/** More cookies of our name are not looked at: a browser sends one. */
const maxValues = 4;

/** A `Cookie` field taken apart: what is in Gangway's cookie, and what is the app's. */
export interface TakenCookie {
	/** Usually one: what a browser was made to send beside it proves nothing. */
	readonly values: readonly string[];
	/** The field without it; empty when nothing is left. */
	readonly rest: string;
}

/**
 * Undefined when our cookie is not in there. Splits at every semicolon, so that a quote in one of the app's cookies
 * cannot hide ours in what some parsers read as its value.
 */
export function takeCookie(field: string | undefined): TakenCookie | undefined {
	if (field === undefined || !field.includes(cookieName)) return undefined;
	const values: string[] = [];
	const rest: string[] = [];
	for (const crumb of field.split(";")) {
		const equals = crumb.indexOf("=");
		const name = equals < 0 ? crumb : crumb.slice(0, equals);
		if (trimmed(name) !== cookieName) rest.push(crumb.replace(/^[ \t]+/, ""));
		else if (equals >= 0 && values.length < maxValues) values.push(trimmed(crumb.slice(equals + 1)));
	}
	return { values, rest: rest.join("; ") };
}

/** Without what browsers call white space: they let anybody set a name that begins with more of what Unicode calls so. */
function trimmed(text: string): string {
	return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

/** Secure also where the client speaks plain HTTP: browsers insist, and make an exception for localhost. */
export function setCookie(value: string, maxAgeSeconds: number): Field {
	return ["set-cookie", `${cookieName}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${maxAgeSeconds}`];
}

export const clearCookie = setCookie("", 0);
