/** `/openapi.json` and the pages under `/docs`. */
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifySchema } from "fastify";
import type { TSchema } from "typebox";
import type { App } from "./request.js";

/** Everything from this server, nothing inline. */
const contentSecurityPolicy = [
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self'",
	"img-src 'self' data:",
	"font-src 'self'",
	"connect-src 'self'",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
].join("; ");

const description = `Self-hosted devboxes: isolated Linux environments that can be suspended and resumed, reachable by SSH and at public URLs.

Every POST below /v1/devboxes may be repeated: with the same \`x-request-id\` (at most 256 characters, kept for 24 hours) it answers what the first one did.
Parameters that are not listed are refused with a 400 that names them; null means "not given".
Every answer carries \`x-gangway-request-id\`, the id of the request in the daemon's log.`;

/** Must be called before the routes are declared. `components` are the schemas with an `$id`. */
export async function documentation(app: App, version: string, components: readonly TSchema[]): Promise<void> {
	for (const { $id, ...schema } of components as readonly Named[])
		app.addSchema({ $id, ...(withReferences(schema) as object) });
	await app.register(swagger, {
		openapi: {
			openapi: "3.1.0",
			info: { title: "Gangway", version, description, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
			tags: [
				{ name: "devboxes", description: "Life of a devbox." },
				{ name: "network", description: "The doors of a devbox: SSH and the tunnel." },
				{ name: "administration", description: "Users, teams, members and API keys, for admins." },
				{ name: "sandbox0", description: "The same devboxes in the Sandbox0 dialect, and users' SSH public keys." },
				{ name: "operations", description: "For those who run the daemon." },
			],
			components: {
				securitySchemes: { apiKey: { type: "http", scheme: "bearer", description: "An API key of Gangway." } },
			},
		},
		transform: ({ schema, url }) => ({ schema: withReferences(schema) as FastifySchema, url }),
		transformObject: (document) => {
			const { openapiObject } = document as { openapiObject: OpenApi };
			for (const [url, path] of Object.entries(openapiObject.paths)) {
				for (const [method, operation] of Object.entries(path)) {
					makeBodyOptional(operation);
					if (method === "post" && url.startsWith("/v1/devboxes"))
						operation.parameters = [...(operation.parameters ?? []), requestIdHeader];
				}
			}
			return openapiObject;
		},
		refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `schema-${index}`) },
	});
	await app.register(swaggerUi, {
		routePrefix: "/docs",
		staticCSP: contentSecurityPolicy,
		theme: { title: "Gangway API" },
		uiConfig: { layout: "BaseLayout", deepLinking: true, displayRequestDuration: true },
	});
	app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
}

type Named = TSchema & { $id: string };

/** Every part that has a name becomes a reference to it. */
function withReferences(part: unknown): unknown {
	if (Array.isArray(part)) return part.map(withReferences);
	if (typeof part !== "object" || part === null) return part;
	if ("$id" in part) return { $ref: `${part.$id}#` };
	return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, withReferences(value)]));
}

interface OpenApi {
	paths: Record<string, Record<string, Operation>>;
}

interface Operation {
	parameters?: object[];
	requestBody?: { required?: boolean; content: Record<string, { schema: { type?: string | string[] } }> };
}

const requestIdHeader = {
	name: "x-request-id",
	in: "header",
	description: "Makes the call repeatable: see the introduction. wait_for_status ignores it.",
	schema: { type: "string", maxLength: 256 },
};

/** The plugin calls every body required; one that may be null may also be left out. */
function makeBodyOptional({ requestBody }: Operation): void {
	if (requestBody?.content["application/json"]?.schema.type?.includes("null")) requestBody.required = false;
}
