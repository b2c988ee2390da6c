/** The load generators. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./process.js";

export interface Load {
	readonly url: string;
	readonly fields: readonly string[];
	readonly connections: number;
	readonly seconds: number;
	readonly method: string;
	/** Empty for none. */
	readonly body: string;
}

export interface LoadResult {
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

/** Its figures are read from a line that a script of ours prints. */
export async function wrk(dir: string, load: Load): Promise<LoadResult> {
	const { url, connections, seconds, method, body } = load;
	const script = join(dir, "wrk.lua");
	writeFileSync(
		script,
		`wrk.method = "${method}"\n${body === "" ? "" : `wrk.body = ${JSON.stringify(body)}\n`}${DONE}`,
	);
	const fields = load.fields.flatMap((field) => ["-H", field]);
	const numbers = ["-t", "1", "-c", String(connections), "-d", `${seconds}s`, "--timeout", "10s"];
	const text = await output("wrk", [...numbers, "-s", script, ...fields, url]);
	const match = /RESULT (\d+) (\d+) (\d+)/.exec(text);
	if (match === null) throw new Error(`wrk printed no result: ${text}`);
	const requests = Number(match[1]);
	return { requests, perSecond: requests / (Number(match[2]) / 1e6), errors: Number(match[3]) };
}

/** ab speaks HTTP/1.0 and, unlike wrk, never resumes a TLS session. GET only, a connection for each request. */
export async function ab(_dir: string, { url, connections, seconds, fields }: Load): Promise<LoadResult> {
	const numbers = ["-c", String(connections), "-t", String(seconds), "-n", "1000000"];
	const text = await output("ab", ["-q", ...numbers, ...fields.flatMap((field) => ["-H", field]), url]);
	const figure = (label: string) => Number(new RegExp(`^${label}: +([\\d.]+)`, "m").exec(text)?.[1] ?? 0);
	const requests = figure("Complete requests");
	if (requests === 0) throw new Error(`ab printed no result: ${text}`);
	return {
		requests,
		perSecond: figure("Requests per second"),
		errors: figure("Failed requests") + figure("Non-2xx responses"),
	};
}
