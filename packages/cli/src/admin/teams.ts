import { Command, Option } from "commander";
import { contextOf, teamId } from "./context.js";
import { printDone, printFields, printRows, type Row } from "./output.js";

export function teamCommand(): Command {
	const command = new Command("team").description("Teams: devboxes belong to one");
	command
		.command("create <name>")
		.description("Create a team (first team's admins)")
		.action(async (name: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			printFields(format, await client.call<Row>("POST", "/v1/admin/teams", { name }));
		});
	command
		.command("list")
		.description("List the teams that you administer")
		.action(async (_options, command: Command) => {
			const { client, format } = await contextOf(command);
			const answer = await client.call<{ teams: Row[] }>("GET", "/v1/admin/teams");
			printRows(format, answer, answer.teams, ["id", "name", "passthrough_enabled", "create_time_ms"]);
		});
	command
		.command("update <team>")
		.description("Change a team, named or by id")
		.option("--name <name>", "another name")
		.addOption(
			new Option("--passthrough <state>", "whether its devboxes are reached by SSH in TLS").choices(["on", "off"]),
		)
		.action(async (team: string, options: { name?: string; passthrough?: "on" | "off" }, command: Command) => {
			const { name, passthrough } = options;
			if (name === undefined && passthrough === undefined) {
				command.error("error: nothing to change: give --name or --passthrough");
			}
			const { client, format } = await contextOf(command);
			const change = { ...(name && { name }), ...(passthrough && { passthrough_enabled: passthrough === "on" }) };
			const url = `/v1/admin/teams/${await teamId(client, team)}`;
			printFields(format, await client.call<Row>("POST", url, change));
		});
	command
		.command("delete <team>")
		.description("Delete a team whose devboxes are shut down (first team's admins)")
		.action(async (team: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			await client.call("DELETE", `/v1/admin/teams/${await teamId(client, team)}`);
			printDone(format, `team ${team} deleted`);
		});
	return command;
}
