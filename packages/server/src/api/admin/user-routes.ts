import { Type } from "typebox";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { strictObject } from "../schema.js";
import type { AdministrationService } from "../services.js";
import { toUserView, userListView, userView } from "./views.js";

const tag = "administration";
const config = { action: "administer" } as const;
const params = Type.Object({ id: Type.String() });
const body = strictObject({ name: Type.String({ description: "Unique: letters, digits and . @ + -." }) });
const installation = "Needs an admin of the first team.";

export function userRoutes(app: App, administration: AdministrationService): void {
	app.get(
		"/v1/admin/users",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "listUsers",
				summary: "List users",
				description: "All of them for an admin of the first team, those of the team for another.",
				response: userListView,
			}),
		},
		async (request) => ({ users: (await administration.listUsers(actorOf(request))).map(toUserView) }),
	);
	app.post(
		"/v1/admin/users",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "createUser",
				summary: "Create a user",
				description: `${installation} A user does something through an API key, and gets one for a team that they are in.`,
				body,
				response: userView,
				errors: [409],
			}),
		},
		async (request) => toUserView(await administration.createUser(actorOf(request), request.body.name)),
	);
	app.get(
		"/v1/admin/users/:id",
		{
			config,
			schema: routeSchema({ tag, operationId: "getUser", summary: "Get a user", params, response: userView }),
		},
		async (request) => toUserView(await administration.getUser(actorOf(request), request.params.id)),
	);
	app.post(
		"/v1/admin/users/:id",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "renameUser",
				summary: "Rename a user",
				description: installation,
				params,
				body,
				response: userView,
				errors: [409],
			}),
		},
		async (request) =>
			toUserView(await administration.renameUser(actorOf(request), request.params.id, request.body.name)),
	);
	app.delete(
		"/v1/admin/users/:id",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "deleteUser",
				summary: "Delete a user",
				description: `${installation} With memberships, API keys and SSH keys; what they have open is closed. Their devboxes stay the team's.`,
				params,
				response: strictObject({}),
				errors: [409],
			}),
		},
		async (request) => {
			await administration.deleteUser(actorOf(request), request.params.id);
			return {};
		},
	);
}
