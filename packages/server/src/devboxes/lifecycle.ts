/** The state machine of a devbox. Pure: what may follow what, and nothing else. */

export const statuses = [
	"provisioning",
	"initializing",
	"running",
	"suspending",
	"suspended",
	"resuming",
	"failure",
	"shutdown",
] as const;

export type Status = (typeof statuses)[number];

export type FailureReason = "out_of_memory" | "out_of_disk" | "execution_failed" | "health_check_failed";
export type ShutdownReason = "api_shutdown" | "keep_alive_timeout" | "entrypoint_exit" | "idle";

/**
 * `resuming` covers the whole second start, launch commands too; when that start fails the box goes back to `suspended`
 * (a disk is never lost to a bad script), where a first start that fails ends in `failure`.
 * `running → suspended` without `suspending` is a box that was found stopped, after a reboot of the host for one.
 */
const next: Readonly<Record<Status, readonly Status[]>> = {
	provisioning: ["initializing", "failure", "shutdown"],
	initializing: ["running", "failure", "shutdown"],
	running: ["suspending", "suspended", "failure", "shutdown"],
	suspending: ["suspended", "failure", "shutdown"],
	suspended: ["resuming", "shutdown"],
	resuming: ["running", "suspended", "shutdown"],
	failure: ["shutdown"],
	shutdown: [],
};

export function canFollow(from: Status, to: Status): boolean {
	return next[from].includes(to);
}

/** On the way to running. */
export function isStarting(status: Status): boolean {
	return status === "provisioning" || status === "initializing" || status === "resuming";
}

/** The disk is gone or going. */
export function isEnded(status: Status): boolean {
	return status === "failure" || status === "shutdown";
}
