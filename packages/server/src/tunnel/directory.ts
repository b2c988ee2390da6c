/** What the tunnel needs to know of devboxes; `devboxes/` implements it. Look-ups are in memory when warm. */
export interface TunnelDirectory {
	/** The live tunnel with this key; undefined when there is none (never was, removed, or its devbox has ended). */
	lookup(key: string): Promise<TunnelTarget | undefined>;
	/** Starts a resume if the devbox is suspended; concurrent calls start one. Never throws; progress shows in `lookup`. */
	wake(devboxId: string): void;
	/** Something happened that resets the idle clock. Cheap: may be called for every chunk. */
	activity(devboxId: string): void;
}

export interface TunnelTarget {
	readonly devboxId: string;
	readonly key: string;
	readonly authMode: "open" | "authenticated";
	/** Null when open. A secret: compare in constant time, never log. */
	readonly token: string | null;
	readonly httpKeepAlive: boolean;
	/** HTTP may resume the box. */
	readonly wakes: boolean;
	readonly status: string;
	/** IPv4 address while running, else null. */
	readonly address: string | null;
	/** When the present run began, epoch ms: a port refused shortly after a resume is "starting", not "nothing listens". */
	readonly runningSinceMs: number | null;
}
