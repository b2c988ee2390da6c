const KEY_BYTES = 32;

/**
 * Master keys as people write them: base64 (either alphabet) or hex of 32 bytes, several separated by commas.
 * Undefined when any of them is not one.
 */
export function parseMasterKeys(text: string): readonly Buffer[] | undefined {
	const keys: Buffer[] = [];
	for (const part of text.split(",")) {
		const key = parseMasterKey(part.trim());
		if (key === undefined) return undefined;
		keys.push(key);
	}
	return keys;
}

function parseMasterKey(text: string): Buffer | undefined {
	if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, "hex");
	if (!/^[\w+/-]{43}=?$/.test(text)) return undefined;
	const key = Buffer.from(text, "base64");
	return key.length === KEY_BYTES ? key : undefined;
}

/** A credential that fits `Authorization: Bearer` (RFC 6750, section 2.1) and is too long to be guessed. */
export function isApiKey(text: string): boolean {
	return text.length >= 20 && text.length <= 256 && /^[A-Za-z0-9._~+/-]+=*$/.test(text);
}
