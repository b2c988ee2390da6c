import { Type } from "typebox";
import { type Status, statuses } from "../../devboxes/index.js";
import { type App, actorOf, goneSignal } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { choice, maybe, strictObject } from "../schema.js";
import type { DevboxService } from "../services.js";
import { idParams } from "./answers.js";
import type { RunloopOptions } from "./routes.js";
import { devboxListView, devboxView, logsView, toDevboxView, toLogsView, wireStatuses } from "./views.js";
import { waitForStatus } from "./wait.js";

const defaultPageSize = 20;

export function readRoutes(app: App, options: RunloopOptions): void {
	listRoute(app, options);
	app.get(
		"/v1/devboxes/:id",
		{
			schema: routeSchema({
				tag: "devboxes",
				operationId: "getDevbox",
				summary: "Get a devbox",
				params: idParams,
				response: devboxView,
			}),
		},
		async (request) => {
			const actor = actorOf(request);
			return toDevboxView(await options.devboxes.get(actor, request.params.id), actor, options.tunnelUrl);
		},
	);
	logsRoute(app, options.devboxes);
	waitRoute(app, options);
}

function listRoute(app: App, { devboxes, tunnelUrl }: RunloopOptions): void {
	const querystring = strictObject({
		limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000, description: `Default: ${defaultPageSize}.` })),
		starting_after: Type.Optional(Type.String({ description: "The id of the last devbox of the page before." })),
		status: Type.Optional(choice(wireStatuses)),
		include_total_count: Type.Optional(Type.Boolean({ description: "Default: true." })),
	});
	app.get(
		"/v1/devboxes",
		{
			schema: routeSchema({
				tag: "devboxes",
				operationId: "listDevboxes",
				summary: "List devboxes",
				querystring,
				response: devboxListView,
			}),
		},
		async (request) => {
			const { limit = defaultPageSize, starting_after, status, include_total_count = true } = request.query;
			const total = (count: number) => (include_total_count ? { total_count: count } : {});
			// Nothing ever has a status that Gangway does not have.
			if (status && !isStatus(status)) return { devboxes: [], has_more: false, ...total(0) };
			const filter = status ? { statuses: [status] } : {};
			const cursor = starting_after ? { startingAfter: starting_after } : {};
			const actor = actorOf(request);
			const page = await devboxes.list(actor, { limit, ...cursor, ...filter });
			const count = include_total_count ? await devboxes.count(actor, filter) : 0;
			return {
				devboxes: page.devboxes.map((devbox) => toDevboxView(devbox, actor, tunnelUrl)),
				has_more: page.hasMore,
				...total(count),
			};
		},
	);
}

function isStatus(status: string): status is Status {
	return (statuses as readonly string[]).includes(status);
}

function logsRoute(app: App, devboxes: DevboxService): void {
	const querystring = strictObject({
		execution_id: Type.Optional(Type.String()),
		shell_name: Type.Optional(Type.String()),
	});
	app.get(
		"/v1/devboxes/:id/logs",
		{
			schema: routeSchema({
				tag: "devboxes",
				operationId: "getDevboxLogs",
				summary: "Get the output of launch commands and entrypoint",
				params: idParams,
				querystring,
				response: logsView,
			}),
		},
		async (request) => {
			const { execution_id, shell_name } = request.query;
			const entries = await devboxes.logs(actorOf(request), request.params.id);
			// No entry belongs to an execution or to a named shell: those filters leave nothing.
			return toLogsView(execution_id || shell_name ? [] : entries);
		},
	);
}

function waitRoute(app: App, { devboxes, closing, tunnelUrl, waitHoldMs }: RunloopOptions): void {
	const body = strictObject({
		statuses: Type.Array(choice(wireStatuses), { minItems: 1 }),
		timeout_seconds: maybe(Type.Number({ minimum: 0, description: "Default and maximum: 25." })),
	});
	app.post(
		"/v1/devboxes/:id/wait_for_status",
		{
			config: { action: "read" },
			schema: routeSchema({
				tag: "devboxes",
				operationId: "waitForDevboxStatus",
				summary: "Wait for a status",
				description: "200 as soon as the devbox has one of the statuses; 409 when it can no longer get there.",
				params: idParams,
				body,
				response: devboxView,
				errors: [408, 409],
			}),
		},
		async (request, reply) => {
			const { statuses: wanted, timeout_seconds } = request.body;
			// Whole: a timer takes no fraction of a millisecond.
			const timeoutMs = Math.ceil(Math.min((timeout_seconds ?? Number.POSITIVE_INFINITY) * 1000, waitHoldMs));
			const signal = AbortSignal.any([closing, goneSignal(reply)]);
			const actor = actorOf(request);
			const devbox = await waitForStatus(devboxes, actor, request.params.id, wanted, timeoutMs, signal);
			return toDevboxView(devbox, actor, tunnelUrl);
		},
	);
}
