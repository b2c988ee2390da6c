import { homedir, networkInterfaces } from "node:os";
import { ConfigError, SettingError } from "../errors.js";
import { checkTogether, line } from "./checks.js";
import type { Config } from "./config.js";
import { fileKey, type Host, type Setting, type SettingKey, settingKeys, settings } from "./settings.js";
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
	sources.set(config, given);
	try {
		checkTogether(config, given);
	} catch (error) {
		throw nameAsGiven(error, config);
	}
	return Object.freeze(config);
}

/** What was given for each configuration: its values alone do not tell. */
const sources = new WeakMap<Config, ReadonlyMap<SettingKey, Given>>();

/** A `SettingError` with the setting named as it was given: `--tls-port`, `GANGWAY_TLS_PORT` …; anything else as it is. */
export function nameAsGiven(error: unknown, config: Config): unknown {
	if (!(error instanceof SettingError)) return error;
	const key = settingKeys.find((one) => fileKey(one) === error.setting);
	const given = key && sources.get(config)?.get(key);
	return given ? new ConfigError(`${given.name}: ${error.problem}`) : error;
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
