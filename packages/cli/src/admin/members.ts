import { Command, Option } from "commander";
import { contextOf, teamId, userId } from "./context.js";
import { printDone, printFields, printRows, type Row } from "./output.js";

const role = () =>
	new Option("--role <role>", "viewers see devboxes, members enter them, admins administer the team")
		.choices(["viewer", "member", "admin"])
		.makeOptionMandatory();

export function memberCommand(): Command {
	const command = new Command("member").description("Who is in a team, in which role");
	command
		.command("list <team>")
		.description("List a team's members")
		.action(async (team: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			const url = `/v1/admin/teams/${await teamId(client, team)}/members`;
			const answer = await client.call<{ members: Row[] }>("GET", url);
			printRows(format, answer, answer.members, ["user_id", "name", "role", "create_time_ms"]);
		});
	command
		.command("add <team> <user>")
		.description("Add a user to a team (by id, unless you administer a team of theirs)")
		.addOption(role())
		.action(async (team: string, user: string, options: { role: string }, command: Command) => {
			const { client, format } = await contextOf(command);
			const url = `/v1/admin/teams/${await teamId(client, team)}/members`;
			const body = { user_id: await userId(client, user), role: options.role };
			printFields(format, await client.call<Row>("POST", url, body));
		});
	command
		.command("set <team> <user>")
		.description("Give a member another role")
		.addOption(role())
		.action(async (team: string, user: string, options: { role: string }, command: Command) => {
			const { client, format } = await contextOf(command);
			const url = `/v1/admin/teams/${await teamId(client, team)}/members/${await userId(client, user)}`;
			printFields(format, await client.call<Row>("POST", url, { role: options.role }));
		});
	command
		.command("remove <team> <user>")
		.description(
			"Remove a member; what they have open is closed, and the SSH keys of devboxes that they had are changed",
		)
		.action(async (team: string, user: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			await client.call(
				"DELETE",
				`/v1/admin/teams/${await teamId(client, team)}/members/${await userId(client, user)}`,
			);
			printDone(format, `${user} removed from ${team}`);
		});
	return command;
}
