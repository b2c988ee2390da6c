import type { Logger } from "pino";
import { ConfigError } from "../errors.js";
import { LinuxRuntime } from "./linux/index.js";
import type { Runtime, RuntimeName } from "./runtime.js";

export type * from "./runtime.js";

/** The runtime that the settings ask for, ready for use. `check` may refuse it (by throwing) before anything is done. */
export async function openRuntime(options: {
	readonly wanted: RuntimeName | "auto";
	readonly dataDir: string;
	readonly log: Logger;
	readonly check: (name: RuntimeName) => void;
}): Promise<Runtime> {
	const { wanted, dataDir, log } = options;
	if (wanted === "docker" || wanted === "kubernetes") {
		throw new ConfigError(`GANGWAY_RUNTIME: ${wanted} is not available yet; allowed: auto, linux`);
	}
	options.check("linux");
	const runtime = new LinuxRuntime({ dataDir, log });
	await runtime.open();
	return runtime;
}
