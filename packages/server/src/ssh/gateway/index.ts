export type { GatewayAccess } from "./access.js";
export type { GatewayLimits } from "./admission.js";
export { Gateway, type GatewayOptions } from "./gateway.js";
export { type HostKeys, openHostKeys } from "./host-keys.js";
