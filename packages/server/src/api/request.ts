/** What the routes keep with a request. */

import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type {
	FastifyBaseLogger,
	FastifyInstance,
	FastifyReply,
	FastifyRequest,
	RawReplyDefaultExpression,
	RawRequestDefaultExpression,
	RawServerDefault,
} from "fastify";
import type { Action, Principal } from "../accounts/index.js";
import { UnauthorizedError } from "../errors.js";

export type App = FastifyInstance<
	RawServerDefault,
	RawRequestDefaultExpression,
	RawReplyDefaultExpression,
	FastifyBaseLogger,
	TypeBoxTypeProvider
>;

declare module "fastify" {
	interface FastifyRequest {
		/** Set by `authenticate`. */
		actor: Principal | null;
		/** The devbox that the request is about, for the log. */
		devboxId: string | null;
		/** Address of the client's end, for the log: HTTP/2 no longer knows it when the answer has gone out. */
		peer: string | null;
	}
	interface FastifyContextConfig {
		/** What a caller must be allowed to do. Default: `read` for GET and HEAD, else `use`. */
		action?: Action;
	}
}

/** Who asks. Throws rather than trusting that a hook has run. */
export function actorOf(request: FastifyRequest): Principal {
	if (!request.actor) throw new UnauthorizedError();
	return request.actor;
}

/**
 * Aborts when the client has gone before its answer. Not Fastify's `request.signal`: that follows the request's `close`,
 * which HTTP/1.1 emits as soon as the body has been read.
 */
export function goneSignal(reply: FastifyReply): AbortSignal {
	const gone = new AbortController();
	reply.raw.once("close", () => gone.abort());
	return gone.signal;
}
