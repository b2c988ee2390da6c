import { createHash, timingSafeEqual } from "node:crypto";
import type { TunnelTarget } from "../devboxes/index.js";
import type { RequestInfo } from "./decision.js";

/** Gangway's own credential field. It is addressed to the tunnel, so no app ever sees it, used or not. */
const tunnelCredential = "x-runloop-tunnel-authorization";

const openPass = { ok: true, remove: [tunnelCredential] } as const;

export type Authentication = { readonly ok: false } | { readonly ok: true; readonly remove: readonly string[] };

/**
 * Who may pass. `X-Runloop-Tunnel-Authorization` decides when it is there, right or wrong; else `Authorization` does.
 * `remove` names the fields the box must not see: an app's own `Authorization` passes unless it carries the token.
 */
export function authenticate(target: TunnelTarget, request: RequestInfo): Authentication {
	if (target.authMode === "open") return openPass;
	// A private tunnel without a token is a broken record: nobody passes.
	if (target.token === null || target.token === "") return { ok: false };

	const own = request.header(tunnelCredential);
	const general = bearer(request.header("authorization"));
	const generalMatches = general !== undefined && sameSecret(general, target.token);
	if (own !== undefined) {
		const token = bearer(own);
		if (token === undefined || !sameSecret(token, target.token)) return { ok: false };
	} else if (!generalMatches) {
		return { ok: false };
	}
	return { ok: true, remove: generalMatches ? [tunnelCredential, "authorization"] : [tunnelCredential] };
}

/** Equal or not, in a time that tells neither the place of the first difference nor the length of the secret. */
export function sameSecret(given: string, secret: string): boolean {
	return timingSafeEqual(digest(given), digest(secret));
}

function digest(text: string): Buffer {
	return createHash("sha256").update(text).digest();
}

/** RFC 6750 2.1; the scheme's case does not matter (RFC 9110 11.1). */
function bearer(field: string | undefined): string | undefined {
	return field === undefined ? undefined : /^bearer +([^\s,]+)\s*$/i.exec(field)?.[1];
}
