export { SshConnections } from "./connections.js";
export {
	Gateway,
	type GatewayAccess,
	type GatewayLimits,
	type GatewayOptions,
	openHostKeys,
} from "./gateway/index.js";
export { Passthrough, type PassthroughOptions } from "./passthrough.js";
