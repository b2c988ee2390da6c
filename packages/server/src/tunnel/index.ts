export { createDecide, type DecideOptions, type Route } from "./decide.js";
export type {
	Decide,
	Decision,
	LocalResponse,
	ProxyDecision,
	RequestInfo,
	UpstreamFailure,
} from "./decision.js";
export type { TunnelLimits } from "./limits.js";
export { type Connection, Tunnel, type TunnelCounts, type TunnelOptions } from "./transport.js";
