export { createDecide, type DecideOptions, type Route } from "./decide.js";
export type {
	Decide,
	Decision,
	LocalResponse,
	ProxyDecision,
	RequestInfo,
	UpstreamFailure,
} from "./decision.js";
export type { Limits, Timeouts } from "./engine/index.js";
export { type Outcome, Tunnel, type TunnelCounts, type TunnelOptions } from "./tunnel.js";
