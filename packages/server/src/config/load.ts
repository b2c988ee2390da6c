import { homedir, networkInterfaces } from "node:os";
import { checkTogether, line } from "./checks.js";
import type { Config } from "./config.js";
import { type Host, type Setting, settingKeys, settings } from "./settings.js";
import { type Given, readSources, type Sources } from "./sources.js";
import { Refused } from "./values.js";

export interface LoadOptions extends Partial<Sources> {
	/** What defaults are taken from; for tests. */
	readonly host?: Host;
}

/**
 * The settings of a daemon: flags before environment before file before defaults, checked and frozen.
 * Throws `ConfigError` with one line that names the key as it was written, its value (never a secret) and what is allowed.
 *
 * @example
 * const config = loadConfig({ flags: program.opts() });
 */
export function loadConfig(options: LoadOptions = {}): Config {
	const { flags = {}, env = process.env, cwd = process.cwd(), host = thisHost() } = options;
	const given = readSources({ flags, env, cwd });
	const values: Record<string, unknown> = {};
	const config = values as unknown as Config;
	for (const key of settingKeys) {
		const setting: Setting<unknown> = settings[key];
		const one = given.get(key);
		values[key] = one ? parse(setting, one) : setting.default(config, host);
	}
	checkTogether(config, given);
	return Object.freeze(config);
}

function parse({ kind }: Setting<unknown>, given: Given): unknown {
	try {
		if (given.isList && !kind.list) throw new Refused("is a list");
		return kind.parse(given.text, given.directory);
	} catch (error) {
		if (!(error instanceof Refused)) throw error;
		throw line(given, error.message, kind.allowed, kind.secret);
	}
}

function thisHost(): Host {
	const addresses = Object.values(networkInterfaces()).flat();
	return {
		uid: process.getuid?.() ?? -1,
		home: homedir(),
		hasIpv6: addresses.some((address) => address?.family === "IPv6"),
	};
}
