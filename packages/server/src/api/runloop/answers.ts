/** How the POSTs of the dialect answer: once per `x-request-id`. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { Idempotency, Work } from "../idempotency.js";
import { actorOf } from "../request.js";
import { nullable, strictObject } from "../schema.js";
import type { Answer } from "../services.js";

export type Once = (request: FastifyRequest, work: Work) => Promise<Answer>;

export function answerOnce(idempotency: Idempotency): Once {
	return (request, work) => {
		const key = request.headers["x-request-id"];
		const call = {
			apiKeyId: actorOf(request).apiKeyId,
			key: typeof key === "string" ? key : undefined,
			// Without the query: a repeat is one by its key, not by how its parameters are written.
			route: `${request.method} ${request.url.split("?", 1)[0]}`,
		};
		return idempotency.once(call, work);
	};
}

/** Work that may be done again after a crash. */
export function repeatable(view: () => Promise<object>): Work {
	return { run: async () => ok(await view()) };
}

export function ok(view: object): Answer {
	return { status: 200, body: JSON.stringify(view) };
}

export function send(reply: FastifyReply, { status, body }: Answer): FastifyReply {
	return reply.code(status).type("application/json; charset=utf-8").send(body);
}

export const idParams = Type.Object({
	id: Type.String({ description: "The devbox.", examples: ["dbx_01k6m3v9q7x8y2z4a5b6c7d8e9"] }),
});

/** Where a call takes no parameters, clients send nothing, null or an empty object. */
export const noBody = nullable(strictObject({}));
