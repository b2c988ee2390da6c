/** What a peer may take of time and memory. */
export interface TunnelLimits {
	/** Milliseconds to connect to a box; then 504. */
	readonly connectMs: number;
	/** Milliseconds from the last byte of a request to the head of its response; then 504. */
	readonly responseMs: number;
	/** Bytes of a response's head; a longer one is a 502. */
	readonly maxResponseHeadBytes: number;
}

export const defaultLimits: TunnelLimits = {
	connectMs: 5_000,
	responseMs: 300_000,
	maxResponseHeadBytes: 65_536,
};
