export type { ClientOptions } from "./client.js";
export { Engine, type EngineStats } from "./engine.js";
export type { Http2Options } from "./http2.js";
export type {
	EngineOptions,
	Limits,
	RequestRecord,
	Timeouts,
} from "./options.js";
