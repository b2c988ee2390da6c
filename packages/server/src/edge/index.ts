export * from "./certificates/index.js";
export type { ConnectionKind } from "./connections.js";
export { Edge, type EdgeLimits, type EdgeOptions, type Ports } from "./edge.js";
export type { Client, EdgeHandlers, Request, Response, TunnelDoor } from "./handlers.js";
export { type EdgeNames, Names, type ParsedAuthority } from "./names.js";
export { tunnelUrl } from "./tunnel-url.js";
