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
export { Directory, type SshDirectory, type SshTarget, type TunnelDirectory, type TunnelTarget } from "./directory.js";
export { canFollow, type FailureReason, type ShutdownReason, type Status, statuses } from "./lifecycle.js";
