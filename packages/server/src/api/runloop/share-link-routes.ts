import { Type } from "typebox";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { maybe, strictObject } from "../schema.js";
import { idParams, type Once, repeatable, send } from "./answers.js";
import type { RunloopOptions } from "./routes.js";
import { emptyView, newShareLinkView, shareLinkListView, toNewShareLinkView, toShareLinkView } from "./views.js";

const url = "/v1/devboxes/:id/tunnel/share_links";

const createBody = strictObject(
	{
		port: Type.Integer({ minimum: 1, maximum: 65535, description: "The one that it opens; not 22." }),
		path: maybe(
			Type.String({
				description: "Where it leads: a path that begins with /, and perhaps a query. At most 2048 bytes. Default: /.",
			}),
		),
		expires_in_seconds: Type.Integer({ minimum: 60, maximum: 31_536_000, description: "At most a year." }),
	},
	{ examples: [{ port: 3000, path: "/report?week=7", expires_in_seconds: 86_400 }] },
);

const linkParams = Type.Object({
	...idParams.properties,
	link_id: Type.String({ examples: ["shl_01k6m3v9q7x8y2z4a5b6c7d8e9"] }),
});

/** Links that let their holders in to one port of an authenticated tunnel. */
export function shareLinkRoutes(app: App, options: RunloopOptions, once: Once): void {
	createRoute(app, options, once);
	const { devboxes } = options;
	app.get(
		url,
		{
			schema: routeSchema({
				tag: "network",
				operationId: "listShareLinks",
				summary: "List the share links",
				description: "Without their URLs: each is shown once, when it is made.",
				params: idParams,
				response: shareLinkListView,
			}),
		},
		async (request) => {
			const links = await devboxes.shareLinks(actorOf(request), request.params.id);
			return { share_links: links.map(toShareLinkView) };
		},
	);
	app.delete(
		`${url}/:link_id`,
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "deleteShareLink",
				summary: "Delete a share link",
				description: "Whom it let in is cut off, open WebSockets too.",
				params: linkParams,
				response: emptyView,
			}),
		},
		async (request) => {
			await devboxes.deleteShareLink(actorOf(request), request.params.id, request.params.link_id);
			return {};
		},
	);
}

function createRoute(app: App, { devboxes, tunnelUrl }: RunloopOptions, once: Once): void {
	app.post(
		url,
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "createShareLink",
				summary: "Create a share link",
				description:
					"A URL that lets whoever has it in to one port of an authenticated tunnel, and to no other, also in a browser and after a suspend and resume. It ends when it expires or is deleted, when the tunnel is changed or removed, and with the devbox. A tunnel has at most 100.",
				params: idParams,
				body: createBody,
				response: newShareLinkView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { port, path, expires_in_seconds: expiresInSeconds } = request.body;
			const params = { port, path: path ?? "/", expiresInSeconds };
			const work = async () => {
				const link = await devboxes.createShareLink(actorOf(request), request.params.id, params);
				return toNewShareLinkView(link, tunnelUrl);
			};
			return send(reply, await once(request, repeatable(work)));
		},
	);
}
