import { Type } from "typebox";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { strictObject } from "../schema.js";
import type { Sandbox0Options } from "./routes.js";
import { enveloped, success, toSshKeyView, views } from "./views.js";

const tag = "sandbox0";
const error = views.error;
/** They are one's own, whatever one may do in the team of the API key. */
const config = { action: "read" } as const;

/** Below /users/me. */
export function sshKeyRoutes(app: App, { sshKeys }: Sandbox0Options): void {
	app.get(
		"/ssh-keys",
		{
			config,
			schema: routeSchema({
				tag,
				error,
				operationId: "listSshPublicKeys",
				summary: "List your SSH public keys",
				response: enveloped(views.sshKeys),
			}),
		},
		async (request) => {
			const keys = await sshKeys.list(actorOf(request).userId);
			return success({ ssh_keys: keys.map(toSshKeyView) });
		},
	);
	const body = strictObject({
		name: Type.String({ description: "What you call it." }),
		public_key: Type.String({
			description:
				"One line of a .pub file, without options: ed25519, ECDSA or RSA of at least 2048 bits. Never the private key.",
		}),
	});
	app.post(
		"/ssh-keys",
		{
			config,
			schema: routeSchema({
				tag,
				error,
				operationId: "createSshPublicKey",
				summary: "Upload an SSH public key",
				description: "With it you enter all devboxes of all teams that you may enter.",
				body,
				status: 201,
				response: enveloped(views.sshKey),
				errors: [409],
			}),
		},
		async (request, reply) => {
			const { name, public_key: publicKey } = request.body;
			const key = await sshKeys.create(actorOf(request), { name, publicKey });
			return reply.code(201).send(success(toSshKeyView(key)));
		},
	);
	app.delete(
		"/ssh-keys/:id",
		{
			config,
			schema: routeSchema({
				tag,
				error,
				operationId: "deleteSshPublicKey",
				summary: "Delete an SSH public key",
				description: "What was opened with it is closed.",
				params: Type.Object({ id: Type.String() }),
				response: enveloped(views.message),
			}),
		},
		async (request) => {
			await sshKeys.delete(actorOf(request), request.params.id);
			return success({ message: "SSH key deleted" });
		},
	);
}
