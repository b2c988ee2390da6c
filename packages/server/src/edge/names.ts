import { isIPv4, isIPv6 } from "node:net";

/** The names a daemon answers to. */
export interface EdgeNames {
	readonly domain: string;
	/** More host names of the API. */
	readonly apiHosts: readonly string[];
}

export type ParsedAuthority =
	/** API and dashboard: `api.<d>`, `<d>`, `localhost`, IP literals and `apiHosts`. */
	| { readonly kind: "api" }
	/** `{port}-{key}.tunnel.<d>`. */
	| { readonly kind: "tunnel"; readonly port: number; readonly key: string }
	/** `tunnel.<d>` and every other name under it: the tunnel's 404. */
	| { readonly kind: "tunnel-invalid" }
	/** `{label}.ssh.<d>`, whatever the label: one that is no devbox's is closed without detail, as SSH clients expect no HTTP. */
	| { readonly kind: "ssh"; readonly label: string }
	/** `ssh.<d>`. */
	| { readonly kind: "gateway" }
	/** Not ours: 421, which is what stops DNS rebinding. */
	| { readonly kind: "unknown" };

const API: ParsedAuthority = Object.freeze({ kind: "api" });
const TUNNEL_INVALID: ParsedAuthority = Object.freeze({ kind: "tunnel-invalid" });
const GATEWAY: ParsedAuthority = Object.freeze({ kind: "gateway" });
const UNKNOWN: ParsedAuthority = Object.freeze({ kind: "unknown" });

/** A DNS name has at most 253 characters; a port, a bracket pair and dots come on top. */
const MAX_AUTHORITY = 264;
const MAX_PARSED = 1_000;
const TUNNEL_LABEL = /^([1-9][0-9]{0,4})-([a-z2-7]{26})$/;
const PORT = /^[0-9]{0,5}$/;
/**
 * No delimiter of a URL: `evil.example/.tunnel.<d>` ends in our domain and leads elsewhere once it stands in a redirect.
 * ASCII only: toLowerCase() would make a plain "k" of the Kelvin sign.
 */
const NAME = /^[a-z0-9._~-]+$/;

/** Says what a `Host`, `:authority` or SNI value names. */
export class Names {
	readonly #domain: string;
	readonly #apiHosts: ReadonlySet<string>;
	/** Every request of a tunnel asks twice, and few names are asked for. */
	readonly #parsed = new Map<string, ParsedAuthority>();

	constructor({ domain, apiHosts }: EdgeNames) {
		const canonical = (name: string) => name.toLowerCase().replace(/\.$/, "");
		this.#domain = canonical(domain);
		this.#apiHosts = new Set(apiHosts.map(canonical));
	}

	/**
	 * Never throws; time is linear in the (bounded) length. The port in the authority is checked and ignored: behind a
	 * port mapping it is not ours.
	 */
	parse(authority: string): ParsedAuthority {
		if (authority.length > MAX_AUTHORITY) return UNKNOWN;
		const known = this.#parsed.get(authority);
		if (known !== undefined) return known;
		const parsed = this.#parse(authority);
		// Clients choose what they ask for, so all is forgotten rather than too much kept.
		if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
		this.#parsed.set(authority, parsed);
		return parsed;
	}

	#parse(authority: string): ParsedAuthority {
		const host = hostOf(authority);
		if (host === undefined) return UNKNOWN;
		if (host.startsWith("[")) return API;
		const domain = this.#domain;
		if (host === domain || host === "localhost" || isIPv4(host)) return API;
		if (host.endsWith(domain) && host[host.length - domain.length - 1] === ".") {
			const below = parseBelow(host.slice(0, -domain.length - 1));
			if (below !== UNKNOWN) return below;
		}
		return this.#apiHosts.has(host) ? API : UNKNOWN;
	}
}

/** `name` is what stands before `.<domain>`. */
function parseBelow(name: string): ParsedAuthority {
	if (name === "api") return API;
	if (name === "ssh") return GATEWAY;
	if (name === "tunnel") return TUNNEL_INVALID;
	if (name.endsWith(".tunnel")) {
		const match = TUNNEL_LABEL.exec(name.slice(0, -".tunnel".length));
		const port = Number(match?.[1]);
		return match && port <= 65535 ? Object.freeze({ kind: "tunnel", port, key: match[2]! }) : TUNNEL_INVALID;
	}
	if (name.endsWith(".ssh")) return Object.freeze({ kind: "ssh", label: name.slice(0, -".ssh".length) });
	return UNKNOWN;
}

/** The lower-case host of an authority without port and trailing dot, IPv6 in brackets; undefined if it is not one. */
export function hostOf(authority: string): string | undefined {
	if (authority.length === 0 || authority.length > MAX_AUTHORITY) return undefined;
	if (authority.startsWith("[")) {
		const end = authority.indexOf("]");
		const rest = authority.slice(end + 1);
		if (end < 0 || !isIPv6(authority.slice(1, end)) || authority.includes("%")) return undefined;
		if (rest !== "" && !(rest.startsWith(":") && isPort(rest.slice(1)))) return undefined;
		return authority.slice(0, end + 1).toLowerCase();
	}
	const colon = authority.indexOf(":");
	if (colon >= 0 && !isPort(authority.slice(colon + 1))) return undefined;
	const host = (colon < 0 ? authority : authority.slice(0, colon)).toLowerCase();
	const name = host.endsWith(".") ? host.slice(0, -1) : host;
	return NAME.test(name) ? name : undefined;
}

/** RFC 3986, 3.2.3: the port may be empty. */
function isPort(text: string): boolean {
	return PORT.test(text) && Number(text) <= 65535;
}

/** The IPv4 form of a v4-mapped IPv6 address, which is how dual-stack sockets show IPv4 peers; others unchanged. */
export function plainAddress(address: string | undefined): string {
	if (address === undefined) return "";
	const mapped = /^::ffff:([0-9.]+)$/i.exec(address);
	return mapped && isIPv4(mapped[1]!) ? mapped[1]! : address;
}
