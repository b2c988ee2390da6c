import { createHash, randomBytes } from "node:crypto";

/** A new API key: `gw_` and 256 random bits. */
export function generateApiKey(): string {
	return `gw_${randomBytes(32).toString("base64url")}`;
}

/** What is stored of a key. A fast hash is enough: 256 random bits cannot be guessed. */
export function hashApiKey(key: string): string {
	return createHash("sha256").update(key).digest("hex");
}

/**
 * The key in an `Authorization` header, or the bare key. The scheme's case is free (RFC 9110, section 11.1).
 * Undefined for another scheme.
 */
export function bearerToken(credential: string): string | undefined {
	return /^(?:bearer +)?([^\s]+) *$/i.exec(credential)?.[1];
}
