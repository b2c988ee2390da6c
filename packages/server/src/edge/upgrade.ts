import type { IncomingMessage } from "node:http";

const DROPPED_FIELDS = new Set(["upgrade", "http2-settings"]);

/**
 * The request's head without its wish for an upgrade, to be read again: a server may ignore `Upgrade` (RFC 9110, 7.8),
 * but node:http without a listener for it stops after the head of such a request that has a body.
 */
export function headWithoutUpgrade(request: IncomingMessage): Buffer {
	const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
	const { rawHeaders } = request;
	for (let i = 0; i < rawHeaders.length; i += 2) {
		const name = rawHeaders[i]!;
		const value = rawHeaders[i + 1]!;
		if (DROPPED_FIELDS.has(name.toLowerCase())) continue;
		const kept = name.toLowerCase() === "connection" ? withoutUpgrade(value) : value;
		if (kept !== undefined) lines.push(`${name}: ${kept}`);
	}
	return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

function withoutUpgrade(connection: string): string | undefined {
	const options = connection.split(",").map((option) => option.trim());
	const kept = options.filter((option) => option !== "" && !DROPPED_FIELDS.has(option.toLowerCase()));
	return kept.length === 0 ? undefined : kept.join(", ");
}
