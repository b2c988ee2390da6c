import { timingSafeEqual } from "node:crypto";
import type { Pass, Passes, PassUse } from "../devboxes/index.js";
import { type TakenCookie, takeCookie } from "./cookie.js";
import type { RouteParser } from "./destination.js";
import type { Field } from "./forwarding.js";
import { mayUseCookie } from "./origins.js";
import type { Visit } from "./visit.js";

/** Gangway's own credential field. It is addressed to the tunnel, so no app ever sees it, used or not. */
const tunnelCredential = "x-runloop-tunnel-authorization";

export type Authentication = Refused | Admitted;

export interface Refused {
	readonly ok: false;
	/** There is a good cookie, but the request may be made by a page that is none of the user's. */
	readonly foreignPage: boolean;
}

export interface Admitted {
	readonly ok: true;
	/** Fields that the box must not see. */
	readonly remove: readonly string[];
	/** Fields that it must see otherwise than they came. */
	readonly set: readonly Field[];
	/** The share link that let the request in. */
	readonly grant: string | undefined;
}

export interface AuthenticateOptions {
	readonly passes: Passes;
	readonly route: RouteParser;
	/** Epoch ms. */
	readonly now: () => number;
}

const untouched: Admitted = { ok: true, remove: [tunnelCredential], set: [], grant: undefined };

/**
 * Who may pass. `X-Runloop-Tunnel-Authorization` decides when it is there, right or wrong; else Gangway's cookie lets in,
 * else `Authorization`. A cookie that is no good is as none: browsers send it until it expires. An app's own
 * `Authorization` passes unless it carries the token.
 */
export function authenticate(visit: Visit, options: AuthenticateOptions): Authentication {
	const { request, target } = visit;
	const cookie = takeCookie(request.header("cookie"));
	if (target.authMode === "open") return cookie === undefined ? untouched : admitted(cookie, false);
	const byToken = isToken(bearer(request.header("authorization")), target.token);
	const own = request.header(tunnelCredential);
	if (own !== undefined) return isToken(bearer(own), target.token) ? admitted(cookie, byToken) : refused(false);
	const pass = goodCookie(cookie, visit, options);
	const byCookie = pass !== undefined && mayUseCookie(visit, options.route);
	if (byCookie) return admitted(cookie, byToken, pass.shareLinkId ?? undefined);
	return byToken ? admitted(cookie, true) : refused(pass !== undefined);
}

function refused(foreignPage: boolean): Refused {
	return { ok: false, foreignPage };
}

function admitted(cookie: TakenCookie | undefined, tokenInAuthorization: boolean, grant?: string): Admitted {
	const remove = [tunnelCredential];
	if (tokenInAuthorization) remove.push("authorization");
	if (cookie?.rest === "") remove.push("cookie");
	return { ok: true, remove, set: cookie?.rest ? [["cookie", cookie.rest]] : [], grant };
}

function goodCookie(
	cookie: TakenCookie | undefined,
	visit: Visit,
	{ passes, now }: AuthenticateOptions,
): Pass | undefined {
	for (const value of cookie?.values ?? []) {
		const pass = goodPass("cookie", value, visit, passes, now());
		if (pass !== undefined) return pass;
	}
	return undefined;
}

/** The pass, if it is good for this port of this tunnel as it is now. */
export function goodPass(use: PassUse, text: string, visit: Visit, passes: Passes, nowMs: number): Pass | undefined {
	const { target, port } = visit;
	// A private tunnel without a token is a broken record: nobody passes.
	const pass = target.token ? passes.verify(use, text) : undefined;
	if (pass === undefined || pass.tunnelKey !== target.key || pass.generation !== target.generation) return undefined;
	if (pass.port !== port || nowMs >= pass.expiresAtMs) return undefined;
	if (pass.shareLinkId === null) return use === "cookie" ? pass : undefined;
	const link = target.shareLinks.get(pass.shareLinkId);
	return link !== undefined && link.port === port && nowMs < link.expiresAtMs ? pass : undefined;
}

/** Nothing is the token of a tunnel that has none: that is a broken record, and nobody passes. */
export function isToken(given: string | undefined, token: string | null): boolean {
	return given !== undefined && token !== null && token !== "" && sameSecret(given, token);
}

/** Equal or not, in a time that does not tell the place of the first difference. Of the secret's length it makes no secret. */
export function sameSecret(given: string, secret: string): boolean {
	// No digests, which would hide the length too: they cost a third of what a request costs in all.
	const [bytes, expected] = [Buffer.from(given), Buffer.from(secret)];
	const sameLength = bytes.length === expected.length;
	return timingSafeEqual(bytes, sameLength ? expected : bytes) && sameLength;
}

/** RFC 6750 2.1; the scheme's case does not matter (RFC 9110 11.1). */
function bearer(field: string | undefined): string | undefined {
	return field === undefined ? undefined : /^bearer +([^\s,]+)\s*$/i.exec(field)?.[1];
}
