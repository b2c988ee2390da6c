export { checkTrustedRuntime } from "./checks.js";
export type { Config } from "./config.js";
export { parseFlags } from "./flags.js";
export { type LoadOptions, loadConfig } from "./load.js";
export { describeSettings, type SettingDescription, settingsReference } from "./reference.js";
export { isApiKey, parseMasterKeys } from "./secrets.js";
export { isLocalDomain } from "./settings.js";
export type { Flags } from "./sources.js";
