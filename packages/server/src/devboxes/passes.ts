import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * What lets a browser, which cannot set header fields on a page load or a WebSocket, in to one port of an authenticated
 * tunnel: as a cookie once somebody has signed in, or in the URL of a share link.
 */
export interface Pass {
	readonly tunnelKey: string;
	/** Of the tunnel's token: a new token voids all passes. */
	readonly generation: number;
	readonly port: number;
	/** The share link it stems from; null when somebody presented the token. */
	readonly shareLinkId: string | null;
	readonly expiresAtMs: number;
}

/** A pass of one use is no pass of another. */
export type PassUse = "cookie" | "link";

/** Far longer than any pass, and bounded before anything is computed over it. */
const maxLength = 512;

/** Writes and reads passes: `<payload>.<HMAC-SHA-256 of it>`, both base64url. */
export class Passes {
	readonly #key: Buffer;

	/** @param key 32 bytes, for this purpose only. */
	constructor(key: Buffer) {
		this.#key = key;
	}

	sign(use: PassUse, pass: Pass): string {
		const { tunnelKey, generation, port, shareLinkId, expiresAtMs } = pass;
		const payload = Buffer.from(JSON.stringify([tunnelKey, generation, port, shareLinkId, expiresAtMs])).toString(
			"base64url",
		);
		return `${payload}.${this.#mac(use, payload)}`;
	}

	/** The pass that was signed; whether it is (still) good for a request is the caller's to judge. */
	verify(use: PassUse, text: string): Pass | undefined {
		if (text.length > maxLength) return undefined;
		const [payload = "", mac = "", ...rest] = text.split(".");
		// As text: of what decodes to the same bytes, only what was signed is a pass.
		const expected = Buffer.from(this.#mac(use, payload));
		const given = Buffer.from(mac);
		if (rest.length > 0 || given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
		const [tunnelKey, generation, port, shareLinkId, expiresAtMs] = JSON.parse(
			Buffer.from(payload, "base64url").toString(),
		);
		return { tunnelKey, generation, port, shareLinkId, expiresAtMs };
	}

	#mac(use: PassUse, payload: string): string {
		return createHmac("sha256", this.#key).update(`${use}.${payload}`).digest("base64url");
	}
}
