import { Type } from "typebox";
import { type App, actorOf } from "../request.js";
import { routeSchema } from "../route-schema.js";
import { maybe, strictObject } from "../schema.js";
import type { AdministrationService } from "../services.js";
import { teamListView, teamView, toTeamView } from "./views.js";

const tag = "administration";
const config = { action: "administer" } as const;
const params = Type.Object({ id: Type.String() });
const name = Type.String({ description: "Unique: letters, digits and . @ + -." });
const installation = "Needs an admin of the first team.";

export function teamRoutes(app: App, administration: AdministrationService): void {
	app.get(
		"/v1/admin/teams",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "listTeams",
				summary: "List the teams that you administer",
				description: "All of them for an admin of the first team.",
				response: teamListView,
			}),
		},
		async (request) => ({ teams: (await administration.listTeams(actorOf(request))).map(toTeamView) }),
	);
	app.post(
		"/v1/admin/teams",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "createTeam",
				summary: "Create a team",
				description: installation,
				body: strictObject({ name }),
				response: teamView,
				errors: [409],
			}),
		},
		async (request) => toTeamView(await administration.createTeam(actorOf(request), request.body.name)),
	);
	app.get(
		"/v1/admin/teams/:id",
		{
			config,
			schema: routeSchema({ tag, operationId: "getTeam", summary: "Get a team", params, response: teamView }),
		},
		async (request) => toTeamView(await administration.getTeam(actorOf(request), request.params.id)),
	);
	updateRoute(app, administration);
	app.delete(
		"/v1/admin/teams/:id",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "deleteTeam",
				summary: "Delete a team",
				description: `${installation} With its memberships and API keys. Its devboxes must be shut down before.`,
				params,
				response: strictObject({}),
				errors: [409],
			}),
		},
		async (request) => {
			await administration.deleteTeam(actorOf(request), request.params.id);
			return {};
		},
	);
}

function updateRoute(app: App, administration: AdministrationService): void {
	const body = strictObject({
		name: maybe(name),
		passthrough_enabled: maybe(
			Type.Boolean({
				description: "False: nobody reaches its devboxes through the passthrough; what is open there is closed.",
			}),
		),
	});
	app.post(
		"/v1/admin/teams/:id",
		{
			config,
			schema: routeSchema({
				tag,
				operationId: "updateTeam",
				summary: "Change a team",
				description: "What is left out stays as it is.",
				params,
				body,
				response: teamView,
				errors: [409],
			}),
		},
		async (request) => {
			const { name, passthrough_enabled: passthroughEnabled } = request.body;
			const change = {
				...(typeof name === "string" && { name }),
				...(typeof passthroughEnabled === "boolean" && { passthroughEnabled }),
			};
			return toTeamView(await administration.updateTeam(actorOf(request), request.params.id, change));
		},
	);
}
