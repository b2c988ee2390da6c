import { BlockList, isIP } from "node:net";
import { ConfigError } from "../errors.js";
import type { RequestInfo } from "./decision.js";

type Field = readonly [name: string, value: string];

/**
 * The fields that tell the app who its client is. What the client claims about itself is replaced, unless the peer is a
 * trusted proxy: then its `X-Forwarded-For` is continued and its `X-Forwarded-Proto` believed.
 *
 * @param trustedProxies addresses or CIDR blocks, IPv4 or IPv6.
 */
export function createForwarding(trustedProxies: readonly string[]): (request: RequestInfo) => readonly Field[] {
	const trusts = trustedAddresses(trustedProxies);
	return (request) => {
		const peer = canonicalAddress(request.peerAddress) ?? request.peerAddress;
		const scheme = request.secure ? "https" : "http";
		if (!trusts(peer)) {
			return [
				["x-forwarded-for", peer],
				["x-real-ip", peer],
				["x-forwarded-proto", scheme],
			];
		}
		const given = request.header("x-forwarded-for")?.trim();
		return [
			["x-forwarded-for", given ? `${given}, ${peer}` : peer],
			["x-real-ip", clientOf(given, peer, trusts)],
			["x-forwarded-proto", schemeOf(request.header("x-forwarded-proto")) ?? scheme],
		];
	};
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
function schemeOf(field: string | undefined): "http" | "https" | undefined {
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

function trustedAddresses(entries: readonly string[]): (address: string) => boolean {
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
