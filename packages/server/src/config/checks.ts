import { BlockList, isIP } from "node:net";
import { ConfigError, SettingError } from "../errors.js";
import type { Config } from "./config.js";
import { fileKey, type SettingKey } from "./settings.js";
import type { Given } from "./sources.js";

type GivenSettings = ReadonlyMap<SettingKey, Given>;

/** What one setting asks of another. Throws `ConfigError`. */
export function checkTogether(config: Config, given: GivenSettings): void {
	checkCertificate(given);
	checkLifetimes(config, given);
	checkPorts(config, given);
	checkApiHosts(config, given);
	if (config.runtime !== "auto") checkTrustedRuntime(config, config.runtime);
}

/**
 * The runtime `linux` does not contain hostile code, so facing others takes a yes from the operator.
 * `loadConfig` asks this of a named runtime; whoever resolves `auto` asks again with what it became.
 * Throws `ConfigError`.
 */
export function checkTrustedRuntime(config: Pick<Config, "bind" | "allowTrustedRuntime">, runtime: string): void {
	if (runtime !== "linux" || config.allowTrustedRuntime || isLoopback(config.bind)) return;
	throw new SettingError(
		"bind",
		`${JSON.stringify(config.bind)} can be reached from outside, and the runtime linux is for trusted code only (its devboxes share the host's kernel and files); allowed: a loopback address, another runtime, or --allow-trusted-runtime`,
	);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

function isLoopback(address: string): boolean {
	return loopback.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

function checkCertificate(given: GivenSettings): void {
	for (const [here, other] of [
		["tlsCert", "tlsKey"],
		["tlsKey", "tlsCert"],
	] as const) {
		const one = given.get(here);
		if (one && !given.has(other)) {
			throw line(one, `is set without ${fileKey(other)}`, "both of tls_cert and tls_key, or neither");
		}
	}
}

function checkLifetimes({ defaultLifetime, maxLifetime }: Config, given: GivenSettings): void {
	if (maxLifetime === 0 || defaultLifetime <= maxLifetime) return;
	throw line(given.get("defaultLifetime")!, "is more than max_lifetime", `0 (none) to ${maxLifetime} seconds`);
}

function checkPorts(config: Config, given: GivenSettings): void {
	const ports = ["tlsPort", "httpPort", "sshPort"] as const;
	for (const key of ports) {
		const same = ports.find((other) => other !== key && config[other] === config[key]);
		const one = given.get(key);
		if (same && one && config[key] !== 0) {
			throw line(one, `is also ${fileKey(same)}`, "a port of its own, or 0 (any free port)");
		}
	}
}

/** A tunnel's content must never share an origin with the API. */
function checkApiHosts({ apiHosts, domain }: Config, given: GivenSettings): void {
	const taken = [`tunnel.${domain}`, `ssh.${domain}`];
	if (!apiHosts.some((host) => taken.some((name) => host === name || host.endsWith(`.${name}`)))) return;
	throw line(given.get("apiHosts")!, "holds a name of tunnels or SSH", `names not under ${taken.join(" or ")}`);
}

/** The one line that stops a start. */
export function line(given: Given, problem: string, allowed: string, secret = false): ConfigError {
	return new ConfigError(
		`${given.name}: ${secret ? "the value (not shown)" : shown(given.text)} ${problem}; allowed: ${allowed}`,
	);
}

/** As a JSON string, so that no line break or control character gets out. */
function shown(text: string): string {
	return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
