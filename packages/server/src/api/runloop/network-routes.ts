import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { nullable, strictObject } from "../schema.js";
import type { DevboxService } from "../services.js";
import { idParams, noBody, type Once, repeatable, send } from "./answers.js";
import { toTunnelParams } from "./create-params.js";
import { tunnelFields } from "./create-schema.js";
import { emptyView, sshKeyView, toSshKeyView, toTunnelView, tunnelView } from "./views.js";

export function networkRoutes(app: App, devboxes: DevboxService, once: Once): void {
	app.post(
		"/v1/devboxes/:id/create_ssh_key",
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "createSshKey",
				summary: "Get the devbox's SSH key",
				description: `The same key each time: one pair is made with the devbox and lasts as long as it. Use it with\n\n\`ssh -i KEY -o ProxyCommand='openssl s_client -quiet -servername %h -connect SSH_CONNECT 2>/dev/null' SSH_USER@URL\`\n\nwhere SSH_CONNECT is what \`GET /\` says as \`ssh_connect\`.`,
				params: idParams,
				body: noBody,
				response: sshKeyView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { id } = request.params;
			const work = async () => toSshKeyView(id, await devboxes.sshKey(actorOf(request), id));
			return send(reply, await once(request, repeatable(work)));
		},
	);
	tunnelRoutes(app, devboxes, once);
}

function tunnelRoutes(app: App, devboxes: DevboxService, once: Once): void {
	app.post(
		"/v1/devboxes/:id/enable_tunnel",
		{
			config: { action: "enter" },
			schema: routeSchema({
				tag: "network",
				operationId: "enableTunnel",
				summary: "Enable the tunnel of a running devbox",
				params: idParams,
				body: nullable(strictObject(tunnelFields)),
				response: tunnelView,
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { id } = request.params;
			const params = toTunnelParams(request.body ?? {});
			const work = async () => toTunnelView(await devboxes.enableTunnel(actorOf(request), id, params));
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
