import { Command } from "commander";
import { contextOf, teamId, userId } from "./context.js";
import { printDone, printFields, printRows, type Row } from "./output.js";

export function keyCommand(): Command {
	const command = new Command("key").description("API keys: each is a user's, in a team");
	command
		.command("create <team> <user>")
		.description("Create an API key and print it, this once (for others than yourself: first team's admins)")
		.option("--name <name>", "what it is for", "gangway admin")
		.action(async (team: string, user: string, options: { name: string }, command: Command) => {
			const { client, format } = await contextOf(command);
			const url = `/v1/admin/teams/${await teamId(client, team)}/api_keys`;
			const body = { user_id: await userId(client, user), name: options.name };
			printFields(format, await client.call<Row>("POST", url, body));
		});
	command
		.command("list <team>")
		.description("List a team's API keys, revoked ones too")
		.action(async (team: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			const url = `/v1/admin/teams/${await teamId(client, team)}/api_keys`;
			const answer = await client.call<{ api_keys: Row[] }>("GET", url);
			printRows(format, answer, answer.api_keys, ["id", "name", "user_id", "create_time_ms", "revoke_time_ms"]);
		});
	command
		.command("revoke <team> <key>")
		.alias("delete")
		.description("Revoke an API key by its id")
		.action(async (team: string, key: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			const url = `/v1/admin/teams/${await teamId(client, team)}/api_keys/${encodeURIComponent(key)}`;
			await client.call("DELETE", url);
			printDone(format, `API key ${key} revoked`);
		});
	return command;
}
