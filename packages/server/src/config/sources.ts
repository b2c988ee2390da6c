import { ConfigError } from "../errors.js";
import { readConfigFile } from "./file.js";
import { nearest } from "./nearest.js";
import { fileKey, flag, type SettingKey, settingKeys, variable } from "./settings.js";

/** One setting as somebody wrote it. */
export interface Given {
	/** The key as written: `--tls-port`, `GANGWAY_TLS_PORT` or `tls_port in /etc/gangway.yaml`. */
	readonly name: string;
	readonly text: string;
	/** A YAML list; `text` is then its items with commas. */
	readonly isList: boolean;
	/** Where relative paths count from. */
	readonly directory: string;
}

/** Flags by setting key (`tlsPort`), as commander's `opts()` gives them, and `config`, the path of the file. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>;

export interface Sources {
	readonly flags: Flags;
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly cwd: string;
}

/** The winner for each setting that was given: flags before the environment before the file. */
export function readSources({ flags, env, cwd }: Sources): ReadonlyMap<SettingKey, Given> {
	return new Map([...fromFile(flags, cwd), ...fromEnvironment(env, cwd), ...fromFlags(flags, cwd)]);
}

function* fromFlags(flags: Flags, directory: string): Iterable<[SettingKey, Given]> {
	for (const [key, value] of Object.entries(flags)) {
		if (key === "config" || value === undefined) continue;
		const name = flag(key);
		if (!isSetting(key)) throw unknown(name, "flag", ["--config", ...settingKeys.map(flag)]);
		yield [key, { name, text: String(value), isList: false, directory }];
	}
}

/** Read by the `gangway` command, in the same shells. */
const clientVariables: readonly string[] = ["GANGWAY_API_KEY", "GANGWAY_API_URL"];

function* fromEnvironment(env: Sources["env"], directory: string): Iterable<[SettingKey, Given]> {
	const known = new Map(settingKeys.map((key) => [variable(key), key]));
	for (const [name, text] of Object.entries(env)) {
		// An empty variable is an unset one: `GANGWAY_TLS_CERT=${CERT:-}` in a compose file.
		if (!name.startsWith("GANGWAY_") || text === undefined || text === "") continue;
		const key = known.get(name);
		if (key) yield [key, { name, text, isList: false, directory }];
		else if (!clientVariables.includes(name) && !isServiceLink(name, text)) {
			throw unknown(name, "variable", [...known.keys()]);
		}
	}
}

/** Kubernetes and Docker describe a service named `gangway` in variables that nobody wrote: GANGWAY_SERVICE_HOST, GANGWAY_PORT_443_TCP … */
function isServiceLink(name: string, value: string): boolean {
	if (/^GANGWAY_([A-Z0-9_]+_)?SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?$/.test(name)) return true;
	if (/_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name)) return true;
	return /_PORT$/.test(name) && /^(tcp|udp|sctp):\/\//.test(value);
}

function* fromFile(flags: Flags, cwd: string): Iterable<[SettingKey, Given]> {
	const known = new Map(settingKeys.map((key) => [fileKey(key), key]));
	for (const { name, given } of readConfigFile(flags.config, cwd)) {
		const key = known.get(name);
		if (!key) throw unknown(given.name, "key", [...known.keys()], name);
		yield [key, given];
	}
}

function isSetting(key: string): key is SettingKey {
	return (settingKeys as readonly string[]).includes(key);
}

/** For flags, variables and keys alike. */
export function unknown(name: string, what: string, known: readonly string[], key = name): ConfigError {
	const near = nearest(key, known);
	const hint = near === undefined ? `allowed: ${known.join(", ")}` : `did you mean ${near}?`;
	const oneLine = name.slice(0, 300).replaceAll(/\p{Cc}/gu, "?");
	return new ConfigError(`${oneLine}: unknown ${what}; ${hint}`);
}
