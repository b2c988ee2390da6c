import { type Static, Type } from "typebox";
import { type Actor, type Devbox, type Status, statuses } from "../../devboxes/index.js";
import { ConflictError, GangwayError, NotFoundError } from "../../errors.js";
import { type App, actorOf, goneSignal } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { choice, maybe, nullable, strictObject } from "../schema.js";
import type { DevboxService } from "../services.js";
import { claimBody, refuseUnsupported, toCreateParams } from "./claim-params.js";
import type { Sandbox0Options } from "./routes.js";
import {
	defaultTemplate,
	enveloped,
	success,
	toClaimView,
	toRefreshView,
	toSandboxView,
	toStatusView,
	toSummaryView,
	toWireStatus,
	views,
	wireStatuses,
} from "./views.js";

const defaultPageSize = 50;

const tag = "sandbox0";
const error = views.error;
const idParams = Type.Object({ id: Type.String({ examples: ["dbx_01k6m3v9q7x8y2z4a5b6c7d8e9"] }) });
/** Where a call takes no parameters, clients send nothing, null or an empty object. */
const noBody = nullable(strictObject({}));

/** Below /api/v1. */
export function sandboxRoutes(app: App, options: Sandbox0Options): void {
	claimRoute(app, options);
	listRoute(app, options);
	detailRoutes(app, options);
	pauseRoute(app, options);
	resumeRoute(app, options);
	refreshRoute(app, options);
	deleteRoute(app, options);
}

function claimRoute(app: App, { devboxes, holdMs, closing }: Sandbox0Options): void {
	app.post(
		"/sandboxes",
		{
			preValidation: async (request) => refuseUnsupported(request.body),
			schema: routeSchema({
				tag,
				error,
				operationId: "claimSandbox",
				summary: "Claim a sandbox",
				description: "Holds the answer until the sandbox runs, for a while.",
				body: nullable(claimBody),
				status: 201,
				response: enveloped(views.claim),
				errors: [404],
			}),
		},
		async (request, reply) => {
			const actor = actorOf(request);
			const { id } = await devboxes.create(actor, toCreateParams(request.body ?? {}));
			request.devboxId = id;
			const signal = AbortSignal.any([closing, goneSignal(reply)]);
			const devbox = await devboxes.waitForStatus(actor, id, ["running", "failure"], holdMs, signal);
			return reply.code(201).send(success(toClaimView(devbox)));
		},
	);
}

function listRoute(app: App, { devboxes }: Sandbox0Options): void {
	const querystring = strictObject({
		status: Type.Optional(choice(wireStatuses)),
		template_id: Type.Optional(Type.String()),
		paused: Type.Optional(Type.Boolean()),
		limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, description: `Default: ${defaultPageSize}.` })),
		offset: Type.Optional(Type.Integer({ minimum: 0 })),
	});
	app.get(
		"/sandboxes",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "listSandboxes",
				summary: "List sandboxes, newest first",
				querystring,
				response: enveloped(views.list),
			}),
		},
		async (request) => {
			const { limit = defaultPageSize, offset = 0 } = request.query;
			const filter = { statuses: listed(request.query) };
			const actor = actorOf(request);
			const page = await devboxes.list(actor, { limit, offset, ...filter });
			const sandboxes = page.devboxes.map(toSummaryView);
			return success({ sandboxes, count: await devboxes.count(actor, filter), has_more: page.hasMore });
		},
	);
}

/** Those statuses whose devboxes agree with the query. */
function listed(query: { status?: string; template_id?: string; paused?: boolean }): Status[] {
	if (query.template_id && query.template_id !== defaultTemplate) return [];
	return statuses.filter((status) => {
		if (status === "shutdown") return false;
		if (query.paused !== undefined && query.paused !== (status === "suspended")) return false;
		return query.status === undefined || query.status === toWireStatus(status);
	});
}

function detailRoutes(app: App, { devboxes, sshGateway }: Sandbox0Options): void {
	app.get(
		"/sandboxes/:id",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "getSandbox",
				summary: "Get a sandbox",
				params: idParams,
				response: enveloped(views.sandbox),
			}),
		},
		async (request) => success(toSandboxView(await find(devboxes, actorOf(request), request.params.id), sshGateway())),
	);
	app.get(
		"/sandboxes/:id/status",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "getSandboxStatus",
				summary: "Get a sandbox's status",
				params: idParams,
				response: enveloped(views.status),
			}),
		},
		async (request) => success(toStatusView(await find(devboxes, actorOf(request), request.params.id))),
	);
}

function pauseRoute(app: App, options: Sandbox0Options): void {
	app.post(
		"/sandboxes/:id/pause",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "pauseSandbox",
				summary: "Pause a sandbox",
				description: "Stops compute and keeps the disk. Answers when that is done.",
				params: idParams,
				body: noBody,
				response: enveloped(views.pause),
				errors: [409, 504],
			}),
		},
		async (request, reply) => {
			const actor = actorOf(request);
			const { id } = await find(options.devboxes, actor, request.params.id);
			await options.devboxes.suspend(actor, id);
			await reach(options, actor, id, "suspended", goneSignal(reply));
			const status: Static<typeof views.pause>["status"] = "paused";
			return success({ sandbox_id: id, paused: true, status });
		},
	);
}

function resumeRoute(app: App, options: Sandbox0Options): void {
	app.post(
		"/sandboxes/:id/resume",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "resumeSandbox",
				summary: "Resume a paused sandbox",
				description: "Answers when it runs.",
				params: idParams,
				body: noBody,
				response: enveloped(views.resume),
				errors: [409, 504],
			}),
		},
		async (request, reply) => {
			const actor = actorOf(request);
			const { id } = await find(options.devboxes, actor, request.params.id);
			await options.devboxes.resume(actor, id);
			await reach(options, actor, id, "running", goneSignal(reply));
			return success({ sandbox_id: id, resumed: true });
		},
	);
}

function refreshRoute(app: App, { devboxes }: Sandbox0Options): void {
	const body = strictObject({
		duration: maybe(
			Type.Integer({
				minimum: 1,
				maximum: 315_360_000,
				description: "Seconds from now. Default: the ttl of the claim.",
			}),
		),
	});
	app.post(
		"/sandboxes/:id/refresh",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "refreshSandbox",
				summary: "Put off when a sandbox is paused",
				params: idParams,
				body: nullable(body),
				response: enveloped(views.refresh),
				errors: [409],
			}),
		},
		async (request) => {
			const actor = actorOf(request);
			const { id } = await find(devboxes, actor, request.params.id);
			return success(toRefreshView(await devboxes.refresh(actor, id, request.body?.duration ?? undefined)));
		},
	);
}

function deleteRoute(app: App, { devboxes }: Sandbox0Options): void {
	app.delete(
		"/sandboxes/:id",
		{
			schema: routeSchema({
				tag,
				error,
				operationId: "deleteSandbox",
				summary: "Delete a sandbox with its disk",
				params: idParams,
				response: enveloped(views.message),
			}),
		},
		async (request) => {
			const actor = actorOf(request);
			const { id } = await find(devboxes, actor, request.params.id);
			await devboxes.shutdown(actor, id, { force: false });
			return success({ message: `sandbox ${id} is deleted` });
		},
	);
}

/** To this dialect, what is shut down has never been. */
async function find(devboxes: DevboxService, actor: Actor, id: string): Promise<Devbox> {
	const devbox = await devboxes.get(actor, id);
	if (devbox.status === "shutdown") throw new NotFoundError(`sandbox ${id}`);
	return devbox;
}

/** Waits until the devbox gets there. Throws 409 when it goes elsewhere, 504 when it takes longer than calls are held. */
async function reach(
	{ devboxes, holdMs, closing }: Sandbox0Options,
	actor: Actor,
	id: string,
	goal: "running" | "suspended",
	gone: AbortSignal,
): Promise<void> {
	const ends: Status[] = ["running", "suspended", "failure", "shutdown"];
	const { status } = await devboxes.waitForStatus(actor, id, ends, holdMs, AbortSignal.any([closing, gone]));
	if (status === goal) return;
	if (ends.includes(status)) throw new ConflictError(`sandbox ${id} has become ${status}`);
	throw new GangwayError("timeout", 504, `sandbox ${id} is ${status} and goes on to be ${goal}: ask for its status`);
}
