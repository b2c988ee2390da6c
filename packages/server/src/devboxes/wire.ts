/** The data types of the SSH wire that keys and certificates are made of (RFC 4251, section 5). */

export function sshString(value: string | Uint8Array): Buffer {
	const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
	return Buffer.concat([sshUint32(bytes.length), bytes]);
}

export function sshUint32(value: number): Buffer {
	const buffer = Buffer.alloc(4);
	buffer.writeUInt32BE(value);
	return buffer;
}

export function sshUint64(value: number | bigint): Buffer {
	const buffer = Buffer.alloc(8);
	buffer.writeBigUInt64BE(BigInt(value));
	return buffer;
}

/** A non-negative integer given as unsigned big-endian bytes: no leading zeros but the one that keeps it positive. */
export function sshMpint(unsigned: Uint8Array): Buffer {
	let start = 0;
	while (start < unsigned.length && unsigned[start] === 0) start++;
	const digits = Buffer.from(unsigned.subarray(start));
	const first = digits[0];
	return sshString(first !== undefined && first >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : digits);
}
