import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { takeAuthority } from "./authority.js";
import type { Client, EdgeHandlers, Request, Response } from "./handlers.js";
import { hostOf, type Names } from "./names.js";

/** Probes of load balancers and orchestrators come over plain HTTP and follow no redirect. */
const PROBES = new Set(["/healthz", "/readyz"]);

/** What routing reads of a request. */
export interface Addressed {
	readonly authority: string;
	/** The field's value, several joined; `name` in lower case. */
	header(name: string): string | undefined;
}

type Route =
	| { readonly to: "api" }
	| { readonly to: "refuse"; readonly status: 400 | 421; readonly message: string }
	| { readonly to: "redirect"; readonly location: string };

const NO_HOST: Route = {
	to: "refuse",
	status: 400,
	message: "the request needs exactly one Host and a path as its target",
};
const NOT_OURS: Route = {
	to: "refuse",
	status: 421,
	message: "this server does not answer for that host name (setting api_hosts)",
};
const TOO_LATE: Route = {
	to: "refuse",
	status: 421,
	message: "a tunnel needs a connection that did not serve the API",
};

export interface RouterOptions {
	readonly names: Names;
	readonly api: EdgeHandlers["api"];
	/** Plain requests are sent to TLS. */
	readonly redirect: boolean;
	/** The port in redirects. */
	readonly tlsPort: () => number;
	readonly log: Logger;
}

/** Decides by each request's own authority, never by SNI: browsers reuse connections across a certificate's names. */
export class Router {
	readonly #options: RouterOptions;

	constructor(options: RouterOptions) {
		this.#options = Object.freeze({ ...options });
	}

	/** Every request over such connections is redirected: none is a tunnel's. */
	redirects(secure: boolean): boolean {
		return this.#options.redirect && !secure;
	}

	/** Whose request this is, by the names it gives; undefined where we do not answer. The one rule for every way in. */
	owner(request: Addressed): "tunnel" | "api" | undefined {
		const { names } = this.#options;
		const { kind } = names.parse(request.authority);
		if (kind === "tunnel" || kind === "tunnel-invalid") return "tunnel";
		// A proxy with a domain of its own in front of a tunnel names the tunnel here; whether it may is the tunnel's decision.
		const named = request.header("x-runloop-host");
		if (named !== undefined && names.parse(named).kind === "tunnel") return "tunnel";
		return kind === "api" ? "api" : undefined;
	}

	/** Answers a request that is not for the tunnel to answer. */
	request(request: Request, response: Response, client: Client): void {
		const route = this.#route(request, client);
		if (route.to === "api") this.#run(response, () => this.#options.api(request, response, client));
		else if (route.to === "redirect") send(response, 308, { location: route.location }, `use ${route.location}`);
		else send(response, route.status, route === TOO_LATE ? { connection: "close" } : {}, route.message);
	}

	#route(request: Request, client: Client): Route {
		const authority = takeAuthority(request);
		if (authority === undefined) return NO_HOST;
		if (this.redirects(client.secure)) return this.#redirect(authority, request);
		switch (this.owner({ authority, header: headerOf(request.headers) })) {
			case "api":
				return { to: "api" };
			case "tunnel":
				return TOO_LATE;
			case undefined:
				return NOT_OURS;
		}
	}

	#redirect(authority: string, request: Request): Route {
		const { kind } = this.#options.names.parse(authority);
		if (kind === "unknown" || kind === "ssh" || kind === "gateway") return NOT_OURS;
		if (kind === "api" && PROBES.has(request.url ?? "")) return { to: "api" };
		const port = this.#options.tlsPort();
		const target = request.url === "*" ? "/" : request.url;
		return { to: "redirect", location: `https://${hostOf(authority)}${port === 443 ? "" : `:${port}`}${target}` };
	}

	/** A handler's failure ends its own request and nothing else. */
	#run(response: Response, handle: () => unknown): void {
		const fail = (error: unknown) => {
			this.#options.log.error({ err: error }, "a handler of the edge failed");
			if (!response.headersSent) send(response, 500, {}, "internal error");
			else if ("stream" in response) response.stream.destroy();
			else response.destroy();
		};
		try {
			const result = handle();
			if (result instanceof Promise) result.catch(fail);
		} catch (error) {
			fail(error);
		}
	}
}

/** Reads single fields of node's headers. */
export function headerOf(headers: IncomingHttpHeaders): Addressed["header"] {
	return (name) => headers[name]?.toString();
}

/** As the API's errors have them. */
const codes: Readonly<Record<number, string>> = {
	308: "moved",
	400: "bad_request",
	421: "misdirected_request",
	500: "internal_error",
};

function send(response: Response, status: number, headers: Record<string, string>, message: string): void {
	const body = JSON.stringify({ message, code: codes[status] });
	const all = { ...headers, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
	// Both kinds of response have these; only their overloads differ.
	(response as ServerResponse).writeHead(status, all).end(body);
}
