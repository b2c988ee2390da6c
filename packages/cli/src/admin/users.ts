import { Command } from "commander";
import { contextOf, userId } from "./context.js";
import { printDone, printFields, printRows, type Row } from "./output.js";

export function userCommand(): Command {
	const command = new Command("user").description("Users of the installation");
	command
		.command("create <name>")
		.description("Create a user (first team's admins)")
		.action(async (name: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			printFields(format, await client.call<Row>("POST", "/v1/admin/users", { name }));
		});
	command
		.command("list")
		.description("List the users that you administer")
		.action(async (_options, command: Command) => {
			const { client, format } = await contextOf(command);
			const answer = await client.call<{ users: Row[] }>("GET", "/v1/admin/users");
			printRows(format, answer, answer.users, ["id", "name", "create_time_ms"]);
		});
	command
		.command("rename <user> <name>")
		.description("Rename a user, named or by id (first team's admins)")
		.action(async (user: string, name: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			const id = await userId(client, user);
			printFields(format, await client.call<Row>("POST", `/v1/admin/users/${id}`, { name }));
		});
	command
		.command("delete <user>")
		.description("Delete a user with memberships, API keys and SSH keys (first team's admins)")
		.action(async (user: string, _options, command: Command) => {
			const { client, format } = await contextOf(command);
			await client.call("DELETE", `/v1/admin/users/${await userId(client, user)}`);
			printDone(format, `user ${user} deleted`);
		});
	return command;
}
