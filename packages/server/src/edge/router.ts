import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import { takeAuthority } from "./authority.js";
import type { Client, EdgeHandlers, Request, Response } from "./handlers.js";
import { type EdgeNames, hostOf, parseAuthority } from "./names.js";
import { asksForH2c } from "./upgrade.js";

/** Probes of load balancers and orchestrators come over plain HTTP and follow no redirect. */
const PROBES = new Set(["/healthz", "/readyz"]);

type Route =
	| { readonly to: "api" }
	| { readonly to: "tunnel" }
	| { readonly to: "refuse"; readonly status: 400 | 421; readonly message: string }
	| { readonly to: "redirect"; readonly location: string };

const NO_HOST: Route = {
	to: "refuse",
	status: 400,
	message: "the request needs exactly one Host and a path as its target",
};
const NOT_OURS: Route = { to: "refuse", status: 421, message: "this server does not answer for that host name" };

export interface RouterOptions {
	readonly names: EdgeNames;
	readonly handlers: EdgeHandlers;
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

	request(request: Request, response: Response, client: Client): void {
		const route = this.#route(request, client);
		const { handlers } = this.#options;
		if (route.to === "api") this.#run(response, () => handlers.api(request, response, client));
		else if (route.to === "tunnel") this.#run(response, () => handlers.tunnel.request(request, response, client));
		else if (route.to === "redirect") send(response, 308, { location: route.location }, `use ${route.location}`);
		else send(response, route.status, {}, route.message);
	}

	/** Hands an upgrade over; false if the request is to be answered as if it had not asked for one. */
	upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, client: Client): boolean {
		if (asksForH2c(request) || this.#route(request, client).to !== "tunnel") return false;
		this.#run(socket, () => this.#options.handlers.tunnel.upgrade(request, socket, head, client));
		return true;
	}

	#route(request: Request, client: Client): Route {
		const authority = takeAuthority(request);
		if (authority === undefined) return NO_HOST;
		const { names, redirect } = this.#options;
		const { kind } = parseAuthority(authority, names);
		const plain = redirect && !client.secure;
		if (kind === "unknown" || kind === "ssh" || kind === "gateway") {
			return !plain && this.#isFronted(request) ? { to: "tunnel" } : NOT_OURS;
		}
		if (kind === "tunnel-invalid") return { to: "tunnel" };
		if (plain && !(kind === "api" && PROBES.has(request.url ?? ""))) return this.#redirect(authority, request);
		return kind === "tunnel" || this.#isFronted(request) ? { to: "tunnel" } : { to: "api" };
	}

	/** A proxy with a domain of its own in front of a tunnel names the tunnel here; whether it may is the tunnel's decision. */
	#isFronted(request: Request): boolean {
		const named = request.headers["x-runloop-host"];
		return typeof named === "string" && parseAuthority(named, this.#options.names).kind === "tunnel";
	}

	#redirect(authority: string, request: Request): Route {
		const port = this.#options.tlsPort();
		const target = request.url === "*" ? "/" : request.url;
		return { to: "redirect", location: `https://${hostOf(authority)}${port === 443 ? "" : `:${port}`}${target}` };
	}

	/** A handler's failure ends its own request and nothing else. */
	#run(answer: Response | Duplex, handle: () => unknown): void {
		const fail = (error: unknown) => {
			this.#options.log.error({ err: error }, "a handler of the edge failed");
			if ("headersSent" in answer && !answer.headersSent) send(answer, 500, {}, "internal error");
			else if ("stream" in answer) answer.stream.destroy();
			else answer.destroy();
		};
		try {
			const result = handle();
			if (result instanceof Promise) result.catch(fail);
		} catch (error) {
			fail(error);
		}
	}
}

function send(response: Response, status: number, headers: Record<string, string>, message: string): void {
	const body = JSON.stringify({ message });
	const all = { ...headers, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
	// Both kinds of response have these; only their overloads differ.
	(response as ServerResponse).writeHead(status, all).end(body);
}
