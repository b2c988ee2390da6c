export { createDecide, type DecideOptions } from "./decide.js";
export type {
	Decide,
	Decision,
	LocalResponse,
	ProxyDecision,
	RequestInfo,
	UpstreamFailure,
} from "./decision.js";
export type { Route, RouteParser } from "./destination.js";
export type { Limits, Timeouts } from "./engine/index.js";
export { trustedAddresses } from "./forwarding.js";
export { Limiter } from "./limits.js";
export { type Outcome, Tunnel, type TunnelCounts, type TunnelOptions } from "./tunnel.js";
