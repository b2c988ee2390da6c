import { type TSchema, Type } from "typebox";
import { strictObject } from "./schema.js";

interface Parts {
	readonly params?: TSchema;
	readonly querystring?: TSchema;
	readonly body?: TSchema;
}

interface Documentation {
	readonly operationId: string;
	readonly tag: string;
	readonly summary: string;
	readonly description?: string;
	/** Of the success. */
	readonly response: TSchema;
	/** Of a success. Default: 200. */
	readonly status?: 200 | 201;
	/** Of a refusal. Default: `errorView`. */
	readonly error?: TSchema;
	/** Statuses besides those that every call may answer. */
	readonly errors?: readonly number[];
}

export const errorView = strictObject(
	{
		message: Type.String({ description: "For people: names the field and what is allowed." }),
		code: Type.String({ description: "For programs: stable." }),
	},
	{ $id: "Error", examples: [{ message: "launch_parameters.user_parameters.uid: must be ≥ 0", code: "bad_request" }] },
);

const descriptions: Readonly<Record<number, string>> = {
	400: "A parameter is wrong; the message names it.",
	401: "No valid API key.",
	403: "The role of the API key does not allow this.",
	404: "There is no such thing, or not in this team.",
	408: "Not yet: ask again.",
	409: "What there is does not allow this, such as the state of the devbox. `x-should-retry: false`.",
	504: "It takes longer than calls are held; it goes on.",
	500: "A fault of the server; the message has the request id of its log.",
};

/**
 * A route's schema: what Fastify checks (`Parts`) and what the documentation says. Without `querystring` the route takes
 * no query parameters, and one that is sent is an error like every unknown parameter.
 */
export function routeSchema<P extends Parts>(given: P & Documentation): P {
	const { tag, response, status: success = 200, error = errorView, errors = [], ...schema } = given;
	const statuses = [400, 401, 403, ...(schema.params ? [404] : []), ...errors, 500];
	const refusals = statuses.map((status) => [status, described(error, descriptions[status] ?? "Refused.")]);
	return {
		querystring: strictObject({}),
		...schema,
		tags: [tag],
		security: [{ apiKey: [] }],
		response: { [success]: described(response, "Done."), ...Object.fromEntries(refusals) },
	} as unknown as P;
}

/** A response with a description. */
export function described(schema: TSchema, description: string) {
	return { description, content: { "application/json": { schema } } };
}
