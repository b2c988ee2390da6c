import { isDeepStrictEqual } from "node:util";
import { InvalidError } from "../errors.js";
import type { Tunnel, TunnelParams } from "./devbox.js";
import { newTunnelKey, newTunnelToken } from "./ids.js";

/** What is not asked for. */
export const defaultTunnelParams: TunnelParams = Object.freeze({
	authMode: "open",
	httpKeepAlive: true,
	wakeOnHttp: false,
	wakeMode: "retry",
	corsOrigins: Object.freeze([]),
	loopbackPorts: Object.freeze([]),
	portRules: Object.freeze({}),
});

export function newTunnel(params: TunnelParams): Tunnel {
	return {
		...params,
		key: newTunnelKey(),
		token: newToken(params),
		generation: 1,
		createdAtMs: Date.now(),
		shareLinks: [],
	};
}

/** The tunnel itself where the parameters agree with its own; else with the same key and a new token, and no links. */
export function changedTunnel(tunnel: Tunnel, params: TunnelParams): Tunnel {
	const { key, token, generation, createdAtMs, shareLinks, ...present } = tunnel;
	if (isDeepStrictEqual(present, params)) return tunnel;
	return { ...params, key, token: newToken(params), generation: generation + 1, createdAtMs, shareLinks: [] };
}

function newToken(params: TunnelParams): string | null {
	return params.authMode === "authenticated" ? newTunnelToken() : null;
}

/** Entries in a list of a tunnel's parameters. */
const maxEntries = 50;

/**
 * Checks what the dialects have not, and writes it in the one way in which parameters can be compared: origins as
 * browsers send them, lists sorted. Throws `InvalidError`; field names are the wire's, below `prefix`.
 */
export function checkedTunnelParams(params: TunnelParams, prefix = ""): TunnelParams {
	const { corsOrigins, loopbackPorts, portRules, authMode, httpKeepAlive, wakeOnHttp, wakeMode } = params;
	const rules = Object.entries(portRules);
	checkLength(`${prefix}cors_origins`, corsOrigins);
	checkLength(`${prefix}loopback_ports`, loopbackPorts);
	checkLength(`${prefix}port_rules`, rules);
	loopbackPorts.forEach((port, n) => {
		checkPort(`${prefix}loopback_ports[${n}]`, port);
		if (loopbackPorts.indexOf(port) !== n) throw new InvalidError(`${prefix}loopback_ports[${n}]`, "is given twice");
	});
	for (const [port] of rules) {
		// The text must be the number's own, or two keys could mean one port.
		checkPort(
			`${prefix}port_rules[${JSON.stringify(port.slice(0, 20))}]`,
			String(Number(port)) === port ? Number(port) : 0,
		);
	}
	const origins = corsOrigins.map((origin, n) => canonicalOrigin(`${prefix}cors_origins[${n}]`, origin));
	return {
		authMode,
		httpKeepAlive,
		wakeOnHttp,
		wakeMode,
		corsOrigins: [...new Set(origins)].sort(),
		loopbackPorts: loopbackPorts.toSorted((a, b) => a - b),
		portRules: Object.fromEntries(rules.map(([port, { hostHeader }]) => [port, { hostHeader }])),
	};
}

/** Throws `InvalidError` unless a tunnel can lead to it: the box's sshd has its own doors. */
export function checkPort(field: string, port: number): void {
	if (Number.isInteger(port) && port >= 1 && port <= 65535 && port !== 22) return;
	throw new InvalidError(field, "must be a port from 1 to 65535, but not 22");
}

function checkLength(field: string, entries: readonly unknown[]): void {
	if (entries.length > maxEntries) throw new InvalidError(field, `must have at most ${maxEntries} entries`);
}

/** As browsers write it in `Origin` (RFC 6454, section 6.2): lower case, without the scheme's own port. */
function canonicalOrigin(field: string, text: string): string {
	const form = /^https?:\/\/(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i;
	if (text.length > 300 || !form.test(text) || !URL.canParse(text)) {
		throw new InvalidError(field, "must be http:// or https://, a host and perhaps a port, without path or *");
	}
	return new URL(text).origin;
}
