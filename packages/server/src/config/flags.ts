import { ConfigError } from "../errors.js";
import { flag, settingKeys, settings } from "./settings.js";
import { type Flags, unknown } from "./sources.js";

/**
 * Reads `--key value`, `--key=value` and switches. For programs without a command-line library; the result is what
 * commander's `opts()` gives. Throws `ConfigError`.
 */
export function parseFlags(argv: readonly string[]): Flags {
	const known = new Map<string, string>([
		["--config", "config"],
		...settingKeys.map((key) => [flag(key), key] as const),
	]);
	const flags: Record<string, string | boolean> = {};
	const words = [...argv];
	for (let word = words.shift(); word !== undefined; word = words.shift()) {
		const [, name = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
		const key = known.get(name);
		if (key === undefined) throw unknown(name, "flag", [...known.keys()]);
		if (Object.hasOwn(flags, key)) throw new ConfigError(`${name}: given twice; allowed: once`);
		flags[key] = value ?? (isSwitch(key) ? true : nextValue(name, words));
	}
	return flags;
}

function isSwitch(key: string): boolean {
	const setting = settingKeys.find((known) => known === key);
	return setting !== undefined && settings[setting].kind.placeholder === undefined;
}

function nextValue(name: string, words: string[]): string {
	const value = words.shift();
	if (value === undefined || value.startsWith("--")) {
		throw new ConfigError(`${name}: needs a value; allowed: ${name} <value>`);
	}
	return value;
}
