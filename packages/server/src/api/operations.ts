/** For those who run Gangway: is it alive, is it ready, what does it do. And the front page. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { Histogram, type Registry } from "prom-client";
import { Type } from "typebox";
import { UnavailableError } from "../errors.js";
import { authenticateUnlessLocal } from "./authentication.js";
import type { App } from "./request.js";
import { described, errorView } from "./route-schema.js";
import type { SshGateway } from "./sandbox0/index.js";
import type { Accounts } from "./services.js";

/** What an SSH client needs to know beside a box's key and name. */
export interface SshFacts {
	/** `host:port` for `openssl s_client -connect`. Asked at each request: the port is known once it is open. */
	readonly connect: () => string;
	/** Where the SSH gateway is reached. */
	readonly gateway: () => SshGateway;
	/** OpenSSH public keys of the gateway. */
	readonly gatewayHostKeys: readonly string[];
	/** OpenSSH public key of the CA of all boxes' host certificates. */
	readonly hostCa: string;
}

interface OperationsOptions {
	readonly accounts: Accounts;
	readonly metrics: Registry;
	/** True when requests can be served, else why not (false: no reason to give). */
	readonly ready: () => boolean | string;
	readonly ssh: SshFacts;
	readonly version: string;
}

const tags = ["operations"];
const status = Type.Object({ status: Type.String() }, { description: "Yes." });

export function operationRoutes(app: App, options: OperationsOptions): void {
	const { accounts, metrics, ready } = options;
	app.get("/healthz", { schema: { tags, summary: "Is the daemon alive?", response: { 200: status } } }, async () => ({
		status: "ok",
	}));
	app.get(
		"/readyz",
		{
			schema: {
				tags,
				summary: "Can the daemon serve requests?",
				response: { 200: status, 503: described(errorView, "No; the message says why.") },
			},
		},
		async () => {
			const state = ready();
			if (state !== true) throw new UnavailableError(`not ready${state ? `: ${state}` : ""}`);
			return { status: "ready" };
		},
	);
	app.get(
		"/metrics",
		{
			onRequest: authenticateUnlessLocal(accounts),
			schema: {
				tags,
				summary: "Metrics for Prometheus",
				description: "Needs an API key unless the peer is on the daemon's own machine and no proxy stands between.",
				security: [{ apiKey: [] }],
				response: {
					200: { description: "Metrics.", content: { "text/plain": { schema: { type: "string" } } } },
					401: described(errorView, "No valid API key."),
				},
			},
		},
		async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()),
	);
	frontPage(app, options);
	measureRequests(app, metrics);
}

function frontPage(app: App, { ssh, version }: OperationsOptions): void {
	app.get("/", { schema: { hide: true } }, async (request, reply) => {
		reply.header("vary", "accept");
		if (request.headers.accept?.includes("text/html")) return reply.redirect("/docs");
		const gateway = ssh.gateway();
		return {
			name: "gangway",
			version,
			docs: "/docs",
			openapi: "/openapi.json",
			ssh_connect: ssh.connect(),
			ssh_host_ca: ssh.hostCa,
			ssh_gateway: `${gateway.host}:${gateway.port}`,
			ssh_gateway_host_keys: ssh.gatewayHostKeys,
		};
	});
}

/** By route and not by URL: ids must not become labels. */
function measureRequests(app: App, metrics: Registry): void {
	const seconds = new Histogram({
		name: "gangway_api_request_duration_seconds",
		help: "Time from a request of the API to its answer, in seconds; calls that wait are held on purpose.",
		labelNames: ["method", "route", "status"],
		buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 30],
		registers: [metrics],
	});
	app.addHook("onResponse", async (request: FastifyRequest, reply: FastifyReply) => {
		const route = request.routeOptions.url ?? "unknown";
		// A client can send any method to an unknown route.
		const method = route === "unknown" ? "any" : request.method;
		seconds.observe({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000);
	});
}
