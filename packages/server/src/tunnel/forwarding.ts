import { BlockList, isIP } from "node:net";
import { ConfigError } from "../errors.js";
import type { RequestInfo } from "./decision.js";
import type { Visit } from "./visit.js";

export type Field = readonly [name: string, value: string];
type Scheme = "http" | "https";

/** Who a request is from. */
export interface Sender {
	/** The client's IP address; undefined when a trusted proxy names nobody but itself. */
	readonly client: string | undefined;
	/** What the client speaks, to us or to a trusted proxy. */
	readonly scheme: Scheme;
	/** The fields that tell the app. */
	readonly fields: readonly Field[];
}

/**
 * Tells who a request is from. What the client claims about itself is replaced, unless the peer is a trusted proxy: then
 * its `X-Forwarded-For` is continued and its `X-Forwarded-Proto` believed.
 *
 * @param trustedProxies as `trustedAddresses` takes them.
 */
export function createForwarding(trustedProxies: readonly string[]): (request: RequestInfo) => Sender {
	const trusts = trustedAddresses(trustedProxies);
	/** Of the latest client that came without a proxy: requests of one client come together. */
	let latest: { readonly address: string; readonly scheme: Scheme; readonly sender: Sender } | undefined;
	return (request) => {
		const { peerAddress } = request;
		const ownScheme = request.secure ? "https" : "http";
		if (latest !== undefined && latest.address === peerAddress && latest.scheme === ownScheme) return latest.sender;
		const peer = canonicalAddress(peerAddress) ?? peerAddress;
		if (!trusts(peer)) {
			const sender = { client: peer, scheme: ownScheme, fields: fields(peer, peer, ownScheme) } as const;
			latest = { address: peerAddress, scheme: ownScheme, sender };
			return sender;
		}
		const given = request.header("x-forwarded-for")?.trim();
		const client = clientOf(given, peer, trusts);
		const forwardedFor = given ? `${given}, ${peer}` : peer;
		const scheme = schemeOf(request.header("x-forwarded-proto")) ?? ownScheme;
		return { client: client === peer ? undefined : client, scheme, fields: fields(forwardedFor, client, scheme) };
	};
}

function fields(forwardedFor: string, client: string, scheme: Scheme): readonly Field[] {
	return [
		["x-forwarded-for", forwardedFor],
		["x-real-ip", client],
		["x-forwarded-proto", scheme],
	];
}

/**
 * For servers that refuse names they do not know: a port whose rule says so sees `Host: localhost:<port>`, and the name
 * that was asked for in `X-Forwarded-Host`, unless a proxy has told it already.
 */
export function hostFields({ request, target, port }: Visit): readonly Field[] {
	if (target.portRules.get(port)?.hostHeader !== "localhost") return [];
	const host: Field = ["host", `localhost:${port}`];
	return request.header("x-forwarded-host") === undefined ? [host, ["x-forwarded-host", request.authority]] : [host];
}

/** The right-most address that no trusted proxy vouches for as its own; everything left of it is hearsay. */
function clientOf(given: string | undefined, peer: string, trusts: (address: string) => boolean): string {
	let client = peer;
	for (const entry of (given ?? "").split(",").reverse()) {
		const address = canonicalAddress(entry);
		if (address === undefined) break;
		client = address;
		if (!trusts(address)) break;
	}
	return client;
}

/** Traefik sends `ws` and `wss` for WebSockets. A list is ambiguous and ignored. */
function schemeOf(field: string | undefined): Scheme | undefined {
	switch (field?.trim().toLowerCase()) {
		case "https":
		case "wss":
			return "https";
		case "http":
		case "ws":
			return "http";
		default:
			return undefined;
	}
}

/**
 * A bare address from what peers and proxies write: `10.0.0.1`, `10.0.0.1:5000`, `[::1]:5000`, `::ffff:10.0.0.1`
 * (IPv4 on a dual-stack listener), `fe80::1%eth0`. Undefined when it is none of these.
 */
export function canonicalAddress(text: string): string | undefined {
	let address = text.trim();
	const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(address);
	if (bracketed) address = bracketed[1]!;
	else if (/^[\d.]+:\d+$/.test(address)) address = address.slice(0, address.indexOf(":"));
	const zone = address.indexOf("%");
	if (zone !== -1) address = address.slice(0, zone);
	const mapped = /^::ffff:([\d.]+)$/i.exec(address);
	if (mapped) address = mapped[1]!;
	return isIP(address) === 0 ? undefined : address;
}

/**
 * Whether a bare address is a trusted proxy's.
 *
 * @param entries addresses or CIDR blocks, IPv4 or IPv6.
 */
export function trustedAddresses(entries: readonly string[]): (address: string) => boolean {
	const list = new BlockList();
	for (const entry of entries) addTrusted(list, entry);
	if (entries.length === 0) return () => false;
	return (address) => {
		const version = isIP(address);
		return version !== 0 && list.check(address, version === 4 ? "ipv4" : "ipv6");
	};
}

function addTrusted(list: BlockList, entry: string): void {
	const [address = "", prefix, ...rest] = entry.split("/");
	const version = isIP(address);
	const family = version === 4 ? "ipv4" : "ipv6";
	const bits = version === 4 ? 32 : 128;
	const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
	if (version === 0 || rest.length > 0 || length < 0 || length > bits) {
		throw new ConfigError(`trusted_proxies: ${JSON.stringify(entry)} is not an IP address or CIDR block`);
	}
	list.addSubnet(address, length, family);
}
