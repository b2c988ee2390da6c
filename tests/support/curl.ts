import { spawn } from "node:child_process";
import { collect } from "./ssh.js";

export interface CurlAnswer {
	/** As the status line says it: "1.1" or "2". */
	readonly version: string;
	readonly status: number;
	/** Names in lower case; several of one name joined by ", ". */
	readonly headers: Readonly<Record<string, string>>;
	readonly body: Buffer;
	readonly text: string;
}

/**
 * Runs the system's curl, which resolves `*.localhost` by itself, and reads its answer.
 * Throws with curl's own message when there was none.
 */
export async function curl(...args: readonly string[]): Promise<CurlAnswer> {
	const { code, stdout, stderr } = await collect(spawn("curl", ["-sS", "-i", "--max-time", "60", ...args]));
	if (code !== 0) throw new Error(stderr.trim());
	return parse(stdout);
}

function parse(output: Buffer): CurlAnswer {
	const end = output.indexOf("\r\n\r\n");
	const [first = "", ...lines] = output.subarray(0, end).toString("latin1").split("\r\n");
	const rest = output.subarray(end + 4);
	const [, version = "", status] = /^HTTP\/(\S+) (\d{3})/.exec(first) ?? [];
	if (status?.startsWith("1") && status !== "101") return parse(rest);
	const headers: Record<string, string> = {};
	for (const line of lines) {
		const colon = line.indexOf(":");
		const name = line.slice(0, colon).toLowerCase();
		const value = line.slice(colon + 1).trim();
		headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
	}
	return { version, status: Number(status), headers, body: rest, text: rest.toString() };
}
