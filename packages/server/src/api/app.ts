import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { setTimeout } from "node:timers/promises";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import Fastify, { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from "fastify";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { InvalidError, NotFoundError, UnavailableError } from "../errors.js";
import { adminRoutes, adminViews } from "./admin/index.js";
import { auditRoutes, auditViews, recordDenials } from "./audit/index.js";
import { authenticate, authorize } from "./authentication.js";
import { documentation } from "./documentation.js";
import { type ToWireError, toWireError } from "./errors.js";
import { Idempotency } from "./idempotency.js";
import { operationRoutes, type SshFacts } from "./operations.js";
import type { App } from "./request.js";
import { errorView } from "./route-schema.js";
import { runloopRoutes, runloopViews } from "./runloop/index.js";
import { sandbox0Routes, sandbox0Views, toSandbox0Error } from "./sandbox0/index.js";
import type { Accounts, AuditService, DevboxService, IdempotencyStore, TunnelUrl } from "./services.js";
import { validatorCompiler } from "./validation.js";

export interface ApiOptions {
	readonly devboxes: DevboxService;
	readonly accounts: Accounts;
	readonly idempotency: IdempotencyStore;
	readonly audit: AuditService;
	readonly metrics: Registry;
	/** True when requests can be served, else why not. */
	readonly ready: () => boolean | string;
	/** Asked at each request: the port is known once it is open. */
	readonly tunnelUrl: TunnelUrl;
	/** Shown at `/`. */
	readonly ssh: SshFacts;
	readonly version: string;
	readonly log: Logger;
	readonly limits?: Partial<ApiLimits>;
}

export interface ApiLimits {
	/** Bytes of a request's body; more is a 413. Default: 10 MiB. */
	readonly bodyBytes: number;
	/** Milliseconds that create_and_await_running is held, and calls of the Sandbox0 dialect; the official client gives up after 30 s. Default: 20000. */
	readonly createHoldMs: number;
	/** Milliseconds that wait_for_status is held, at most. Default: 25000. */
	readonly waitHoldMs: number;
	/** Milliseconds that `close` waits for answers that are under way. Default: 5000. */
	readonly closeMs: number;
}

const defaultLimits: ApiLimits = {
	bodyBytes: 10 * 1024 * 1024,
	createHoldMs: 20_000,
	waitHoldMs: 25_000,
	closeMs: 5_000,
};

export interface Api {
	/** Serves one request, of node:http or of node:http2's compatibility API. The caller owns the sockets. */
	handler(request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse): void;
	/** For tests: `app.inject`. */
	readonly app: App;
	/** Ends what is held, lets answers that are under way go out, and resolves. Twice is fine. */
	close(): Promise<void>;
}

/** The HTTP API: the dialects, the admin API, the operations endpoints and the documentation. Never listens itself. */
export async function createApi(options: ApiOptions): Promise<Api> {
	const limits = Object.freeze({ ...defaultLimits, ...options.limits });
	const closing = new AbortController();
	const idempotency = new Idempotency(options.idempotency, options.log);
	const { app, serve } = buildApp(options.log, limits);
	await documentation(app, options.version, [
		errorView,
		...runloopViews,
		...adminViews,
		...auditViews,
		...sandbox0Views,
	]);
	operationRoutes(app, options);
	const guard = (scope: App) => {
		scope.addHook("onRequest", async () => {
			if (closing.signal.aborted) throw new UnavailableError("Gangway is shutting down");
		});
		// Before the body is read, and again after it: that may take long, and the key be revoked meanwhile.
		for (const hook of ["onRequest", "preValidation"] as const) {
			scope.addHook(hook, authenticate(options.accounts));
			scope.addHook(hook, authorize);
		}
		scope.addHook("onResponse", recordDenials(options.audit));
		// Views hold keys and tokens.
		scope.addHook("onSend", async (_request, reply) => void reply.header("cache-control", "no-store"));
	};
	await app.register(async (v1: App) => {
		guard(v1);
		runloopRoutes(v1, { ...options, ...limits, idempotency, architecture: hostArchitecture, closing: closing.signal });
		adminRoutes(v1, options.accounts.administration);
		auditRoutes(v1, options.audit, options.accounts.administration);
	});
	const { devboxes, accounts, ssh } = options;
	const sandbox0 = { devboxes, sshKeys: accounts.sshKeys, sshGateway: ssh.gateway, holdMs: limits.createHoldMs };
	for (const [prefix, routes] of Object.entries(sandbox0Routes)) {
		await app.register(
			async (scope: App) => {
				scope.setErrorHandler(answerErrors(toSandbox0Error));
				scope.setNotFoundHandler(notFound);
				guard(scope);
				routes(scope, { ...sandbox0, closing: closing.signal });
			},
			{ prefix },
		);
	}
	await app.ready();

	const underWay = new Set<Closes>();
	let closed: Promise<void> | undefined;
	return {
		app,
		handler(request, response) {
			underWay.add(response);
			response.once("close", () => underWay.delete(response));
			serve(request as IncomingMessage, response as ServerResponse);
		},
		close() {
			closed ??= (async () => {
				closing.abort();
				// Work outlives its client, so both are waited for.
				await atMost(limits.closeMs, Promise.all([allClosed(underWay), idempotency.idle()]));
				await app.close();
			})();
			return closed;
		},
	};
}

interface Closes {
	once(event: "close", listener: () => void): unknown;
}

const hostArchitecture = process.arch === "arm64" ? "arm64" : "x86_64";

function buildApp(log: Logger, limits: ApiLimits) {
	let serve: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
	const app: App = Fastify({
		// Only its handler is used: this server never listens, the edge owns the sockets.
		serverFactory: (handler) => {
			serve = handler;
			return createServer();
		},
		loggerInstance: log.child(
			{},
			{ redact: ["req.headers.authorization", "headers.authorization"] },
		) as FastifyBaseLogger,
		logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
		bodyLimit: limits.bodyBytes,
		// A client's x-request-id is its idempotency key: the same for every repeat, so it cannot name one request in the log.
		requestIdHeader: false,
		genReqId: () => randomUUID(),
		return503OnClosing: false,
		// No route has been found then: the path's beginning tells the dialect.
		frameworkErrors: (error, request, reply) => {
			const isSandbox0 = Object.keys(sandbox0Routes).some((prefix) => request.url.startsWith(`${prefix}/`));
			answerErrors(isSandbox0 ? toSandbox0Error : toWireError)(error, request, reply);
		},
	}).withTypeProvider<TypeBoxTypeProvider>();
	app.setValidatorCompiler(validatorCompiler);
	// Response schemas are documentation: the views are typed by them, and what they are is sent as it is.
	app.setSerializerCompiler(() => JSON.stringify);
	app.decorateRequest("actor", null);
	app.decorateRequest("devboxId", null);
	app.decorateRequest("peer", null);
	app.setErrorHandler(answerErrors(toWireError));
	app.setNotFoundHandler(notFound);
	acceptOnlyJson(app);
	app.addHook("onRequest", async (request, reply) => {
		request.peer = request.ip;
		reply.headers({ "x-gangway-request-id": request.id, "x-content-type-options": "nosniff" });
	});
	app.addHook("onSend", async (request, reply) => {
		// RFC 9113, section 8.2.2: HTTP/2 has no such field; Fastify sets it where it refuses a body.
		if (request.raw.httpVersionMajor >= 2) reply.removeHeader("connection");
	});
	app.addHook("onResponse", logResponse);
	return { app, serve: serve as NonNullable<typeof serve> };
}

function answerErrors(toWire: ToWireError) {
	return (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
		const { status, headers, body } = toWire(error, request.id);
		// Before any hook has run, the id is not there yet.
		reply.header("x-gangway-request-id", request.id);
		if (status >= 500) request.log.error({ err: error }, "request failed");
		reply.code(status).headers(headers).type("application/json; charset=utf-8").send(JSON.stringify(body));
	};
}

function notFound(request: FastifyRequest): never {
	throw new NotFoundError(`route ${request.method} ${request.url.split("?", 1)[0]}`);
}

function acceptOnlyJson(app: App): void {
	const parse = app.getDefaultJsonParser("error", "error");
	app.removeAllContentTypeParsers();
	app.addContentTypeParser("application/json", { parseAs: "string" }, (request, text, done) => {
		// Clients name the type of the body that a call without parameters does not have.
		if (text === "") return done(null, undefined);
		parse(request, text as string, (error, value) => {
			done(error ? new InvalidError("body", "is not valid JSON", { cause: error }) : null, value);
		});
	});
}

async function logResponse(request: FastifyRequest, reply: FastifyReply): Promise<void> {
	const { id } = Object(request.params) as { id?: string };
	request.log.info(
		{
			method: request.method,
			path: request.url.split("?", 1)[0],
			status: reply.statusCode,
			ms: Math.round(reply.elapsedTime),
			peer: request.peer,
			devboxId: request.devboxId ?? id,
			apiKeyId: request.actor?.apiKeyId,
		},
		reply.sent ? "answered" : "the client left before its answer",
	);
}

async function allClosed(responses: ReadonlySet<Closes>): Promise<void> {
	await Promise.all([...responses].map((response) => new Promise<void>((resolve) => response.once("close", resolve))));
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
	const done = new AbortController();
	const timeUp = setTimeout(ms, undefined, { signal: done.signal }).catch(() => {});
	await Promise.race([work, timeUp]);
	done.abort();
}
