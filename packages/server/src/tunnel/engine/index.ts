export type { ClientOptions } from "./connection.js";
export { Engine, type EngineStats } from "./engine.js";
export type { Http2Options } from "./http2-request.js";
export type {
	EngineOptions,
	Limits,
	RequestRecord,
	Timeouts,
} from "./options.js";
