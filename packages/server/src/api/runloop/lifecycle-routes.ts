import { Type } from "typebox";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { maybe, nullable, strictObject, stringMap } from "../schema.js";
import { idParams, noBody, type Once, repeatable, send } from "./answers.js";
import type { RunloopOptions } from "./routes.js";
import { devboxView, emptyView, toDevboxView } from "./views.js";

export function lifecycleRoutes(app: App, options: RunloopOptions, once: Once): void {
	updateRoute(app, options, once);
	suspendAndResumeRoutes(app, options, once);
	shutdownRoute(app, options, once);
	keepAliveRoute(app, options, once);
}

function updateRoute(app: App, { devboxes, tunnelUrl }: RunloopOptions, once: Once): void {
	const body = strictObject({
		name: maybe(Type.String({ description: "Empty: no name." })),
		metadata: maybe(stringMap({ description: "Takes the place of what was there. Empty: none." })),
	});
	app.post(
		"/v1/devboxes/:id",
		{
			schema: routeSchema({
				tag: "devboxes",
				operationId: "updateDevbox",
				summary: "Change name and metadata",
				description: "What is left out stays as it is.",
				params: idParams,
				body: nullable(body),
				response: devboxView,
			}),
		},
		async (request, reply) => {
			const { name, metadata } = request.body ?? {};
			const change = { ...(typeof name === "string" && { name }), ...(metadata && { metadata }) };
			const work = async () =>
				toDevboxView(await devboxes.update(actorOf(request), request.params.id, change), actorOf(request), tunnelUrl);
			return send(reply, await once(request, repeatable(work)));
		},
	);
}

function suspendAndResumeRoutes(app: App, { devboxes, tunnelUrl }: RunloopOptions, once: Once): void {
	const summaries = { suspend: "Stop a devbox and keep its disk", resume: "Start a suspended devbox" };
	for (const verb of ["suspend", "resume"] as const) {
		app.post(
			`/v1/devboxes/:id/${verb}`,
			{
				schema: routeSchema({
					tag: "devboxes",
					operationId: `${verb}Devbox`,
					summary: summaries[verb],
					params: idParams,
					body: noBody,
					response: devboxView,
					errors: [409],
				}),
			},
			async (request, reply) => {
				const work = async () =>
					toDevboxView(await devboxes[verb](actorOf(request), request.params.id), actorOf(request), tunnelUrl);
				return send(reply, await once(request, repeatable(work)));
			},
		);
	}
}

function shutdownRoute(app: App, { devboxes, tunnelUrl }: RunloopOptions, once: Once): void {
	const querystring = strictObject({
		force: Type.Optional(Type.Boolean({ description: "Do not wait for anything. Default: false." })),
	});
	app.post(
		"/v1/devboxes/:id/shutdown",
		{
			schema: routeSchema({
				tag: "devboxes",
				operationId: "shutdownDevbox",
				summary: "Shut a devbox down for good",
				params: idParams,
				querystring,
				body: noBody,
				response: devboxView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { force = false } = request.query;
			const work = async () =>
				toDevboxView(
					await devboxes.shutdown(actorOf(request), request.params.id, { force }),
					actorOf(request),
					tunnelUrl,
				);
			return send(reply, await once(request, repeatable(work)));
		},
	);
}

function keepAliveRoute(app: App, { devboxes }: RunloopOptions, once: Once): void {
	app.post(
		"/v1/devboxes/:id/keep_alive",
		{
			schema: routeSchema({
				tag: "devboxes",
				operationId: "keepDevboxAlive",
				summary: "Reset the idle clock",
				params: idParams,
				body: noBody,
				response: emptyView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const work = async () => {
				await devboxes.keepAlive(actorOf(request), request.params.id);
				return {};
			};
			return send(reply, await once(request, repeatable(work)));
		},
	);
}
