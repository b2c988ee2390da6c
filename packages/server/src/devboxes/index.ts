export type {
	Actor,
	CreateParams,
	Devbox,
	LaunchParameters,
	LogEntry,
	SshKey,
	Transition,
	Tunnel,
	TunnelParams,
} from "./devbox.js";
export { Devboxes } from "./devboxes.js";
export { Directories } from "./directories.js";
export { canFollow, type FailureReason, type ShutdownReason, type Status, statuses } from "./lifecycle.js";
