export { type Config, describeSettings, type Flags, loadConfig, type SettingDescription } from "./config/index.js";
export type { Demo } from "./demo.js";
export { GangwayError } from "./errors.js";
export { type Daemon, type Endpoints, startDaemon } from "./main.js";
