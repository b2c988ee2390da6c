import type { Passes } from "../devboxes/index.js";
import { goodPass, isToken } from "./authenticate.js";
import { clearCookie, setCookie } from "./cookie.js";
import type { BodyRequest, Decision, LocalResponse } from "./decision.js";
import type { Field } from "./forwarding.js";
import * as notices from "./notices.js";
import { isOwnPage } from "./origins.js";
import { escapeHtml, ownFields } from "./pages.js";
import { queryOf, takeParameter } from "./query.js";
import type { Visit } from "./visit.js";

/** Paths of Gangway's own, on authenticated tunnels only. */
const signInPath = "/.well-known/gangway/sign-in";
const signOutPath = "/.well-known/gangway/sign-out";
const tokenParameter = "gangway_token";
const shareParameter = "gangway_share";

/** How long a browser stays signed in with the token: a week. */
const signedInMs = 7 * 24 * 60 * 60 * 1000;
/** Bytes: a token and a path, each of whose characters may be written as three. */
const maxForm = 8 * 1024;
const maxReturn = 2048;

export interface SignInOptions {
	readonly passes: Passes;
	/** Epoch ms. */
	readonly now: () => number;
}

/**
 * How a browser, which cannot set header fields on a page load or a WebSocket, is let in to a port of an authenticated
 * tunnel: the token, in a form or in the URL, or a share link's pass in the URL, is exchanged for a cookie.
 */
export class SignIn {
	readonly #passes: Passes;
	readonly #now: () => number;

	constructor({ passes, now }: SignInOptions) {
		this.#passes = passes;
		this.#now = now;
	}

	/** The answer to a request that is about signing in; undefined for all others. */
	answer(visit: Visit): Decision | undefined {
		const { request, target } = visit;
		if (target.authMode !== "authenticated") return undefined;
		if (isPath(request.target, signInPath)) return this.#signInPage(visit);
		if (isPath(request.target, signOutPath)) return signOutPage(visit);
		// Names may be encoded: whatever passes links on may do so, and the app must not get what it would read as our credential.
		if (!/gangway_|%/.test(queryOf(request.target))) return undefined;
		return (
			this.#fromUrl(visit, tokenParameter, (token) => this.#tokenCookie(visit, token)) ??
			this.#fromUrl(visit, shareParameter, (pass) => this.#linkCookie(visit, pass))
		);
	}

	/** What somebody without a credential gets: 401, for a person with a form that leads back to where they wanted to go. */
	invite(visit: Visit): LocalResponse {
		const { method, target } = visit.request;
		return visit.say(notices.unauthorized, signInForm(isRead(method) ? target : "/"));
	}

	#signInPage(visit: Visit): Decision {
		const { method } = visit.request;
		if (isRead(method)) return visit.say(notices.signIn, signInForm("/"));
		if (method !== "POST") return visit.say(notices.notAllowed);
		if (!isOwnPage(visit)) return visit.say(notices.foreignPage);
		return this.#readForm(visit);
	}

	#readForm(visit: Visit): BodyRequest {
		return {
			kind: "read",
			limit: maxForm,
			answer: (body) => {
				const form = new URLSearchParams(body.toString());
				const returnTo = safeReturn(form.get("return") ?? "/");
				const cookie = this.#tokenCookie(visit, form.get("token")?.trim() ?? "");
				return cookie === undefined
					? visit.say(notices.wrongToken, signInForm(returnTo))
					: seeOther(visit, returnTo, cookie);
			},
		};
	}

	#fromUrl(visit: Visit, name: string, exchange: (value: string) => Field | undefined): LocalResponse | undefined {
		const { method, upgrade, target } = visit.request;
		const { value, rest } = takeParameter(target, name);
		if (value === undefined) return undefined;
		// Forwarding it would tell the app, and its logs, what lets in.
		if (upgrade || !isRead(method)) return visit.say(notices.credentialInUrl(name));
		const cookie = exchange(value);
		const notice = name === tokenParameter ? notices.wrongToken : notices.endedLink;
		return cookie === undefined ? visit.say(notice, signInForm(rest)) : seeOther(visit, safeReturn(rest), cookie);
	}

	#tokenCookie({ target, port }: Visit, token: string): Field | undefined {
		if (!isToken(token, target.token)) return undefined;
		const expiresAtMs = this.#now() + signedInMs;
		const { key: tunnelKey, generation } = target;
		return this.#cookie({ tunnelKey, generation, port, shareLinkId: null, expiresAtMs });
	}

	#linkCookie(visit: Visit, text: string): Field | undefined {
		const pass = goodPass("link", text, visit, this.#passes, this.#now());
		return pass && this.#cookie(pass);
	}

	#cookie(pass: Parameters<Passes["sign"]>[1]): Field {
		const seconds = Math.floor((pass.expiresAtMs - this.#now()) / 1000);
		return setCookie(this.#passes.sign("cookie", pass), seconds);
	}
}

function signOutPage(visit: Visit): LocalResponse {
	const { method } = visit.request;
	if (isRead(method)) return visit.say(notices.signOut, signOutForm);
	if (method !== "POST") return visit.say(notices.notAllowed);
	if (!isOwnPage(visit)) return visit.say(notices.foreignPage);
	return seeOther(visit, signInPath, clearCookie);
}

function seeOther({ requestId }: Visit, location: string, cookie: Field): LocalResponse {
	const headers: Field[] = [...ownFields(requestId), ["location", location], cookie];
	return { kind: "respond", requestId, status: 303, headers, body: "" };
}

function isRead(method: string): boolean {
	return method === "GET" || method === "HEAD";
}

function isPath(target: string, path: string): boolean {
	return target === path || target.startsWith(`${path}?`);
}

/**
 * Where a browser may be sent back to: a path of the same host. Browsers read `//` and, in places, `\` as the beginning
 * of another host's name, and skip control characters in between.
 */
export function safeReturn(target: string): string {
	return target.length <= maxReturn && /^\/(?!\/)[\x21-\x5b\x5d-\x7e]*$/.test(target) ? target : "/";
}

function signInForm(returnTo: string): string {
	return `<form method="post" action="${signInPath}">
<input type="hidden" name="return" value="${escapeHtml(safeReturn(returnTo))}">
<label for="token">Token of the tunnel</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
</form>
`;
}

const signOutForm = `<form method="post" action="${signOutPath}">
<button>Sign out</button>
</form>
`;
