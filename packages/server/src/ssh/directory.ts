/** What the SSH doors need to know of devboxes; `devboxes/` implements it. */
export interface SshDirectory {
	/** The devbox whose passthrough name starts with `label` (its id with `_` as `-`). */
	lookupLabel(label: string): Promise<SshTarget | undefined>;
	/** Resumes the box if it is suspended and resolves when it runs; rejects when it cannot. */
	awaitRunning(devboxId: string, signal: AbortSignal): Promise<SshTarget>;
	/** Something happened that resets the idle clock. */
	activity(devboxId: string): void;
}

export interface SshTarget {
	readonly devboxId: string;
	readonly status: string;
	/** IPv4 address of the box's sshd (port 22) while running, else null. */
	readonly address: string | null;
	/** `lifecycle.resume_triggers.ssh`: a connection of somebody not yet authenticated may resume the box. */
	readonly wakes: boolean;
}
