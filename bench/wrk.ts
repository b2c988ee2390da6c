/** wrk, with its figures read from a line that a script of ours prints. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./process.js";

export interface WrkRequest {
	readonly url: string;
	readonly fields: readonly string[];
	readonly connections: number;
	readonly seconds: number;
	readonly method?: string;
	readonly body?: string;
}

export interface WrkResult {
	readonly perSecond: number;
	readonly requests: number;
	/** Anything that was not a 2xx. */
	readonly errors: number;
}

const DONE = `done = function(s, l, r)
	local e = s.errors
	io.write(string.format("RESULT %d %d %d\\n", s.requests, s.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
`;

export async function wrk(dir: string, request: WrkRequest): Promise<WrkResult> {
	const script = join(dir, "wrk.lua");
	const body = request.body === undefined ? "" : `wrk.body = ${JSON.stringify(request.body)}\n`;
	writeFileSync(script, `wrk.method = "${request.method ?? "GET"}"\n${body}${DONE}`);
	const fields = request.fields.flatMap((field) => ["-H", field]);
	const numbers = ["-t", "1", "-c", String(request.connections), "-d", `${request.seconds}s`, "--timeout", "10s"];
	const text = await output("wrk", [...numbers, "-s", script, ...fields, request.url]);
	const match = /RESULT (\d+) (\d+) (\d+)/.exec(text);
	if (match === null) throw new Error(`wrk printed no result: ${text}`);
	const requests = Number(match[1]);
	return { requests, perSecond: requests / (Number(match[2]) / 1e6), errors: Number(match[3]) };
}
