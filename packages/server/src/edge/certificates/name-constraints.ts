import { isIPv4 } from "node:net";

/** OID of the name constraints extension, RFC 5280, 4.2.1.10. */
export const NAME_CONSTRAINTS = "2.5.29.30";

/** GeneralName tags, RFC 5280, 4.2.1.6. */
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;
const SEQUENCE = 0x30;
const PERMITTED_SUBTREES = 0xa0;

/**
 * The extension's DER value that permits exactly these DNS names, each with everything below it, and these addresses.
 * A kind of name that is constrained at all is refused outside its subtrees.
 */
export function nameConstraints(dnsNames: readonly string[], addresses: readonly string[]): Buffer {
	const names = dnsNames.map((name) => der(DNS_NAME, Buffer.from(name, "ascii")));
	const ranges = addresses.map((address) => der(IP_ADDRESS, singleAddress(address)));
	const subtrees = [...names, ...ranges].map((base) => der(SEQUENCE, base));
	return der(SEQUENCE, der(PERMITTED_SUBTREES, Buffer.concat(subtrees)));
}

/** Address and all-ones mask; of IPv6 only `::1` is ever asked for. */
function singleAddress(address: string): Buffer {
	const bytes = isIPv4(address)
		? Buffer.from(address.split(".").map(Number))
		: Buffer.from(address.replace("::", "").padStart(32, "0"), "hex");
	return Buffer.concat([bytes, Buffer.alloc(bytes.length, 0xff)]);
}

function der(tag: number, content: Buffer): Buffer {
	const { length } = content;
	const head =
		length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
	return Buffer.concat([Buffer.from(head), content]);
}
