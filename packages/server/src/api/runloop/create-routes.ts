import type { FastifyRequest } from "fastify";
import type { Status } from "../../devboxes/index.js";
import { type App, actorOf, goneSignal } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { nullable } from "../schema.js";
import type { Answer } from "../services.js";
import { type Once, ok, send } from "./answers.js";
import { toCreateParams } from "./create-params.js";
import { type CreateBody, createBody } from "./create-schema.js";
import type { RunloopOptions } from "./routes.js";
import { refuseUnsupported } from "./unsupported.js";
import { type DevboxView, devboxView, toDevboxView } from "./views.js";
import { holdUntil } from "./wait.js";

export function createRoutes(app: App, options: RunloopOptions, once: Once): void {
	const { devboxes, closing, createHoldMs, tunnelUrl } = options;
	const preValidation = async (request: FastifyRequest) => refuseUnsupported(request.body, options.architecture);
	const documentation = { tag: "devboxes", body: nullable(createBody), response: devboxView };

	async function create(request: FastifyRequest, body: CreateBody): Promise<{ id: string; answer: Answer }> {
		const actor = actorOf(request);
		const answer = await once(request, {
			run: async (options) =>
				ok(toDevboxView(await devboxes.create(actor, toCreateParams(body), options), actor, tunnelUrl)),
			recover: async (id) => ok(toDevboxView(await devboxes.get(actor, id), actor, tunnelUrl)),
		});
		const { id } = JSON.parse(answer.body) as DevboxView;
		request.devboxId = id;
		return { id, answer };
	}

	app.post(
		"/v1/devboxes",
		{
			preValidation,
			schema: routeSchema({
				...documentation,
				operationId: "createDevbox",
				summary: "Create a devbox",
				description: "Answers at once: the devbox is still provisioning.",
			}),
		},
		async (request, reply) => send(reply, (await create(request, request.body ?? {})).answer),
	);

	app.post(
		"/v1/devboxes/create_and_await_running",
		{
			preValidation,
			schema: routeSchema({
				...documentation,
				operationId: "createDevboxAndAwaitRunning",
				summary: "Create a devbox and wait until it runs",
				description:
					"Holds the answer until the devbox runs or has ended, for 20 s at most; then it is the devbox as it is, and wait_for_status goes on. A repeat with the same x-request-id waits for the same devbox.",
			}),
		},
		async (request, reply) => {
			const gone = goneSignal(reply);
			const { id } = await create(request, request.body ?? {});
			const settled: Status[] = ["running", "failure", "shutdown"];
			const signal = AbortSignal.any([closing, gone]);
			const actor = actorOf(request);
			return toDevboxView(await holdUntil(devboxes, actor, id, settled, createHoldMs, signal), actor, tunnelUrl);
		},
	);
}
