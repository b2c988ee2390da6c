export { checkTrustedRuntime } from "./checks.js";
export type { Config } from "./config.js";
export { type LoadOptions, loadConfig, nameAsGiven } from "./load.js";
export { describeSettings, type SettingDescription } from "./reference.js";
export { isApiKey, parseMasterKeys } from "./secrets.js";
export type { Flags } from "./sources.js";
