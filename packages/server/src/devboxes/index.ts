export type {
	Actor,
	CreateParams,
	Devbox,
	LaunchParameters,
	LogEntry,
	NewShareLink,
	PortRule,
	ShareLink,
	ShareLinkParams,
	SshAccess,
	SshKey,
	Transition,
	Tunnel,
	TunnelParams,
} from "./devbox.js";
export { Devboxes } from "./devboxes.js";
export {
	Directory,
	type GatewayDirectory,
	type GatewayTarget,
	type SshAccessDirectory,
	type SshDirectory,
	type SshTarget,
	type TunnelDirectory,
	type TunnelTarget,
} from "./directory.js";
export { publicKeyBlob } from "./keys.js";
export { canFollow, type FailureReason, type ShutdownReason, type Status, statuses } from "./lifecycle.js";
export { type Pass, Passes, type PassUse } from "./passes.js";
export { defaultTunnelParams } from "./tunnels.js";
export { sshString, sshUint32 } from "./wire.js";
