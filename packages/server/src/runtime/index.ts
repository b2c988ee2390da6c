import type { Logger } from "pino";
import { SettingError } from "../errors.js";
import { LinuxRuntime } from "./linux/index.js";
import type { Runtime, RuntimeName } from "./runtime.js";

export type * from "./runtime.js";

/** The runtime that the setting asks for; so far there is one. Throws `SettingError`. */
export function resolveRuntime(wanted: RuntimeName | "auto"): RuntimeName {
	if (wanted === "docker" || wanted === "kubernetes") {
		throw new SettingError("runtime", `${wanted} is not available yet; allowed: auto, linux`);
	}
	return "linux";
}

/** That runtime, ready for use. */
export async function openRuntime(options: { readonly dataDir: string; readonly log: Logger }): Promise<Runtime> {
	const runtime = new LinuxRuntime(options);
	await runtime.open();
	return runtime;
}
