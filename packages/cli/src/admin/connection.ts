import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CommandError, exitCodes } from "../errors.js";

/** Where the API is, and as whom. */
export interface Connection {
	readonly url: string;
	readonly apiKey: string;
	/** PEM of a CA to trust besides the system's. */
	readonly ca?: string;
}

export interface ConnectionFlags {
	readonly dataDir?: string;
	readonly config?: string;
}

/**
 * `GANGWAY_API_URL` and `GANGWAY_API_KEY` where they are set. Else, on the daemon's own machine, what the daemon has left in its
 * data directory, and the key of its settings.
 */
export async function findConnection(flags: ConnectionFlags, env = process.env): Promise<Connection> {
	const { GANGWAY_API_URL: url, GANGWAY_API_KEY: apiKey } = env;
	if (url) {
		if (!apiKey) throw new CommandError(exitCodes.auth, "GANGWAY_API_URL is set, GANGWAY_API_KEY is not: set both");
		if (!URL.canParse(url) || !/^https?:/.test(url)) {
			throw new CommandError(exitCodes.usage, "GANGWAY_API_URL is no URL; allowed: http://… or https://…");
		}
		return { url, apiKey };
	}
	const { loadConfig } = await import("@gangway/server");
	const { dataDir, adminApiKey } = loadConfig({ flags: { dataDir: flags.dataDir, config: flags.config }, env });
	const endpoints = await readEndpoints(dataDir);
	return {
		url: endpoints.api_url,
		apiKey: apiKey || adminApiKey || (await readAdminKey(dataDir)),
		...(endpoints.ca_cert !== null && { ca: await read(endpoints.ca_cert, "the certificate of the local CA") }),
	};
}

async function readEndpoints(dataDir: string): Promise<{ api_url: string; ca_cert: string | null }> {
	const path = join(dataDir, "endpoints.json");
	const text = await read(path, "what a daemon leaves there");
	try {
		return JSON.parse(text);
	} catch (cause) {
		throw new CommandError(1, `${path} is damaged: the daemon writes it anew when it starts`, { cause });
	}
}

async function readAdminKey(dataDir: string): Promise<string> {
	return (await read(join(dataDir, "admin.key"), "the first API key")).trim();
}

async function read(path: string, what: string): Promise<string> {
	try {
		return await readFile(path, "utf8");
	} catch (cause) {
		const { code } = cause as NodeJS.ErrnoException;
		const problem = code === "ENOENT" ? "is not there" : "cannot be read by this user";
		const advice = "set GANGWAY_API_URL and GANGWAY_API_KEY, or --data-dir on the daemon's machine";
		throw new CommandError(exitCodes.auth, `${path} (${what}) ${problem}: ${advice}`, { cause });
	}
}
