/**
 * What counts as one client: an IPv4 address, or the /64 of an IPv6 address, whose every address its user can take
 * (RFC 6177).
 */
export function clientKey(address: string): string {
	if (!address.includes(":")) return address;
	const [head = "", tail] = address.split("::");
	const groups = head === "" ? [] : head.split(":");
	if (tail !== undefined) {
		const last = tail === "" ? [] : tail.split(":");
		// An IPv4 address at the end stands for two groups.
		const written = groups.length + last.length + (tail.includes(".") ? 1 : 0);
		groups.push(...new Array<string>(8 - written).fill("0"), ...last);
	}
	return groups
		.slice(0, 4)
		.map((group) => Number.parseInt(group, 16).toString(16))
		.join(":");
}
