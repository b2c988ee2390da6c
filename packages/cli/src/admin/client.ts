import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { LookupFunction } from "node:net";
import { CommandError, exitCodes } from "../errors.js";
import type { Connection } from "./connection.js";
import { printable } from "./output.js";

const timeoutMs = 30_000;

type Json = Record<string, unknown>;

/** Calls of the admin API. */
export class AdminClient {
	readonly #connection: Connection;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	/** `path` is below the API's root. Throws `CommandError` for a refusal, with the API's words. */
	async call<T>(method: "GET" | "POST" | "DELETE", path: string, body?: Json): Promise<T> {
		const { status, text } = await this.#send(method, path, body);
		const answer = parse(text);
		if (status >= 200 && status < 300 && answer) return answer as T;
		const said = typeof answer?.message === "string" ? printable(answer.message) : undefined;
		const { origin } = new URL(this.#connection.url);
		throw new CommandError(exitCodeOf(status), said ?? `${origin} answered ${status}, and not as Gangway's API does`);
	}

	async #send(method: string, path: string, body: Json | undefined): Promise<{ status: number; text: string }> {
		const { url, apiKey, ca } = this.#connection;
		const target = new URL(`${url.replace(/\/+$/, "")}${path}`);
		const headers = {
			authorization: `Bearer ${apiKey}`,
			accept: "application/json",
			...(body && { "content-type": "application/json" }),
		};
		const lookup = isLocal(target.hostname) ? { lookup: toLoopback } : {};
		const options = { method, headers, timeout: timeoutMs, ...lookup, ...(ca !== undefined && { ca }) };
		try {
			const response = await new Promise<IncomingMessage>((resolve, reject) => {
				const request = (target.protocol === "https:" ? requestHttps : requestHttp)(target, options, resolve);
				request.once("error", reject);
				request.once("timeout", () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
				request.end(body && JSON.stringify(body));
			});
			let text = "";
			for await (const chunk of response.setEncoding("utf8")) text += chunk;
			return { status: response.statusCode ?? 0, text };
		} catch (cause) {
			throw new CommandError(1, `${target.origin} cannot be reached: ${reasonOf(cause)}`, { cause });
		}
	}
}

function parse(text: string): Json | undefined {
	try {
		return JSON.parse(text) as Json;
	} catch {
		return undefined;
	}
}

function exitCodeOf(status: number): number {
	if (status === 401 || status === 403) return exitCodes.auth;
	return status === 404 ? exitCodes.notFound : 1;
}

function reasonOf(error: unknown): string {
	const { code, message } = error as NodeJS.ErrnoException;
	return code && !message?.includes(code) ? `${message} (${code})` : message || code || "unknown";
}

/** Such names are loopback (RFC 6761, section 6.3), though not every resolver knows. */
function isLocal(hostname: string): boolean {
	return hostname.endsWith(".localhost");
}

const toLoopback: LookupFunction = (_hostname, options, callback) => {
	if (options.all) callback(null, [{ address: "127.0.0.1", family: 4 }]);
	else callback(null, "127.0.0.1", 4);
};
