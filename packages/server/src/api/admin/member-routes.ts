/** Who is in a team, and with which API keys. */
import { Type } from "typebox";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { strictObject } from "../schema.js";
import type { AdministrationService } from "../services.js";
import {
	apiKeyListView,
	memberListView,
	memberView,
	newApiKeyView,
	role,
	toApiKeyView,
	toMemberView,
	toNewApiKeyView,
} from "./views.js";

const tag = "administration";
const config = { action: "administer" } as const;
const params = Type.Object({ id: Type.String({ description: "The team." }) });
const memberParams = Type.Object({ ...params.properties, user_id: Type.String() });
const keyParams = Type.Object({ ...params.properties, key_id: Type.String() });

export function memberRoutes(app: App, administration: AdministrationService): void {
	listAndAddRoutes(app, administration);
	changeRoutes(app, administration);
	apiKeyRoutes(app, administration);
}

function listAndAddRoutes(app: App, administration: AdministrationService): void {
	const url = "/v1/admin/teams/:id/members";
	app.get(
		url,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "listMembers",
				summary: "List who is in a team",
				params,
				response: memberListView,
			}),
		},
		async (request) => {
			const members = await administration.listMembers(actorOf(request), request.params.id);
			return { members: members.map(toMemberView) };
		},
	);
	app.post(
		url,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "addMember",
				summary: "Add a user to a team",
				params,
				body: strictObject({ user_id: Type.String(), role }),
				response: memberView,
				errors: [409],
			}),
		},
		async (request) => {
			const { user_id, role } = request.body;
			return toMemberView(await administration.addMember(actorOf(request), request.params.id, user_id, role));
		},
	);
}

function changeRoutes(app: App, administration: AdministrationService): void {
	const url = "/v1/admin/teams/:id/members/:user_id";
	app.post(
		url,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "changeMember",
				summary: "Give a member another role",
				description: "It counts at once, also for what is open. The last admin stays admin.",
				params: memberParams,
				body: strictObject({ role }),
				response: memberView,
				errors: [409],
			}),
		},
		async (request) => {
			const { id, user_id } = request.params;
			return toMemberView(await administration.setRole(actorOf(request), id, user_id, request.body.role));
		},
	);
	app.delete(
		url,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "removeMember",
				summary: "Remove a member from a team",
				description:
					"Their API keys of the team are revoked, what they have open is closed, and the SSH key of every devbox that they had got is another one then.",
				params: memberParams,
				response: strictObject({}),
				errors: [409],
			}),
		},
		async (request) => {
			await administration.removeMember(actorOf(request), request.params.id, request.params.user_id);
			return {};
		},
	);
}

function apiKeyRoutes(app: App, administration: AdministrationService): void {
	const url = "/v1/admin/teams/:id/api_keys";
	app.get(
		url,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "listApiKeys",
				summary: "List the API keys of a team",
				params,
				response: apiKeyListView,
			}),
		},
		async (request) => {
			const keys = await administration.listApiKeys(actorOf(request), request.params.id);
			return { api_keys: keys.map(toApiKeyView) };
		},
	);
	app.post(
		url,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "createApiKey",
				summary: "Create an API key for a member",
				description:
					"It acts as that user, whose SSH keys open all their teams: for others than oneself it needs an admin of the first team.",
				params,
				body: strictObject({ user_id: Type.String(), name: Type.String() }),
				response: newApiKeyView,
			}),
		},
		async (request) => {
			const { user_id: userId, name } = request.body;
			const key = await administration.createApiKey(actorOf(request), request.params.id, { userId, name });
			return toNewApiKeyView(key);
		},
	);
	app.delete(
		`${url}/:key_id`,
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "revokeApiKey",
				summary: "Revoke an API key",
				params: keyParams,
				response: strictObject({}),
			}),
		},
		async (request) => {
			await administration.revokeApiKey(actorOf(request), request.params.id, request.params.key_id);
			return {};
		},
	);
}
