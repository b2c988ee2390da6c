import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { nullable, strictObject } from "../schema.js";
import { idParams, noBody, type Once, repeatable, send } from "./answers.js";
import { toTunnelParams } from "./create-params.js";
import { tunnelFields } from "./create-schema.js";
import type { RunloopOptions } from "./routes.js";
import { emptyView, sshKeyView, toSshKeyView, toTunnelView, tunnelView } from "./views.js";

export function networkRoutes(app: App, options: RunloopOptions, once: Once): void {
	sshKeyRoute(app, options, once);
	tunnelRoutes(app, options, once);
}

function sshKeyRoute(app: App, { devboxes }: RunloopOptions, once: Once): void {
	app.post(
		"/v1/devboxes/:id/create_ssh_key",
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "createSshKey",
				summary: "Get the devbox's SSH key",
				description: `The same key each time, until it is rotated. Who got it is noted: when they leave the team, it is rotated. Use it with\n\n\`ssh -i KEY -o ProxyCommand='openssl s_client -quiet -servername %h -connect SSH_CONNECT 2>/dev/null' SSH_USER@URL\`\n\nwhere SSH_CONNECT is what \`GET /\` says as \`ssh_connect\`.`,
				params: idParams,
				body: noBody,
				response: sshKeyView,
				errors: [409],
			}),
		},
		// Not once per request id: a repeat after a rotation must get the key that opens something.
		async (request) => toSshKeyView(request.params.id, await devboxes.sshKey(actorOf(request), request.params.id)),
	);
	app.post(
		"/v1/devboxes/:id/rotate_ssh_key",
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "rotateSshKey",
				summary: "Give the devbox another SSH key",
				description:
					"The former key opens nothing from then on, and connections that were made through the passthrough are closed. A suspended devbox takes the new one from its next start.",
				params: idParams,
				body: noBody,
				response: sshKeyView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { id } = request.params;
			const work = async () => toSshKeyView(id, await devboxes.rotateSshKey(actorOf(request), id));
			return send(reply, await once(request, repeatable(work)));
		},
	);
}

function tunnelRoutes(app: App, { devboxes, tunnelUrl }: RunloopOptions, once: Once): void {
	app.post(
		"/v1/devboxes/:id/enable_tunnel",
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "enableTunnel",
				summary: "Enable the tunnel of a running devbox",
				description:
					"A devbox has one. Where it is there with these parameters it is answered as it is; with others it takes them, keeps its URL, gets a new token, and all its share links end.",
				params: idParams,
				body: nullable(strictObject(tunnelFields, { examples: [{ auth_mode: "authenticated", wake_on_http: true }] })),
				response: tunnelView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { id } = request.params;
			const params = toTunnelParams(request.body ?? {});
			const work = async () => toTunnelView(await devboxes.enableTunnel(actorOf(request), id, params), tunnelUrl);
			return send(reply, await once(request, repeatable(work)));
		},
	);
	app.post(
		"/v1/devboxes/:id/remove_tunnel",
		{
			schema: routeSchema({
				tag: "network",
				operationId: "removeTunnel",
				summary: "Remove the tunnel",
				description: "Its URL is gone for good; a tunnel that is enabled later has a new one.",
				params: idParams,
				body: noBody,
				response: emptyView,
			}),
		},
		async (request, reply) => {
			const work = async () => {
				await devboxes.removeTunnel(actorOf(request), request.params.id);
				return {};
			};
			return send(reply, await once(request, repeatable(work)));
		},
	);
}
