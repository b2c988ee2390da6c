import type { FastifyReply, FastifyRequest } from "fastify";
import type { AuditService } from "../services.js";

/** An `onResponse` hook: a call that its caller's role or team does not allow is an event. */
export function recordDenials(audit: AuditService) {
	return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
		if (reply.statusCode !== 403 || !request.actor) return;
		const { id } = Object(request.params) as { id?: string };
		audit.record({
			action: "api.denied",
			outcome: "denied",
			actor: request.actor,
			devboxId: id?.startsWith("dbx_") ? id : undefined,
			details: { method: request.method, route: request.routeOptions.url },
		});
	};
}
