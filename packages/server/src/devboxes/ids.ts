import { randomBytes } from "node:crypto";
import { monotonicFactory } from "ulid";

const nextUlid = monotonicFactory();

/** `dbx_` and a ULID in lower case: later ids sort after earlier ones. */
export function newDevboxId(): string {
	return `dbx_${nextUlid().toLowerCase()}`;
}

/** `shl_` and a ULID in lower case. */
export function newShareLinkId(): string {
	return `shl_${nextUlid().toLowerCase()}`;
}

/** The devbox's name in DNS: its id as a label (no underscores there). */
export function labelOf(devboxId: string): string {
	return devboxId.replace("_", "-");
}

/** The inverse of `labelOf`; undefined for anything that is no devbox's label. */
export function devboxIdOfLabel(label: string): string | undefined {
	return /^dbx-[0-9a-hjkmnp-tv-z]{26}$/.test(label) ? label.replace("-", "_") : undefined;
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567";

/** 26 lowercase base32 characters (RFC 4648, section 6): 128 random bits that fit a DNS label beside a port. */
export function newTunnelKey(): string {
	const bits = BigInt(`0x${randomBytes(17).toString("hex")}`);
	let key = "";
	for (let i = 0n; i < 26n; i++) key += base32[Number((bits >> (i * 5n)) & 31n)];
	return key;
}

/** 256 random bits. The prefix lets secret scanners find leaked ones. */
export function newTunnelToken(): string {
	return `gwt_${randomBytes(32).toString("base64url")}`;
}
