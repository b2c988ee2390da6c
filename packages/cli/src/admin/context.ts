import type { Command } from "commander";
import { CommandError, exitCodes } from "../errors.js";
import { AdminClient } from "./client.js";
import { findConnection } from "./connection.js";
import type { OutputFormat } from "./output.js";

/** What every admin command works with. */
export interface Context {
	readonly client: AdminClient;
	readonly format: OutputFormat;
}

export async function contextOf(command: Command): Promise<Context> {
	const { output, dataDir, config } = command.optsWithGlobals<{
		output: OutputFormat;
		dataDir?: string;
		config?: string;
	}>();
	const flags = { ...(dataDir !== undefined && { dataDir }), ...(config !== undefined && { config }) };
	return { client: new AdminClient(await findConnection(flags)), format: output };
}

export interface Named {
	readonly id: string;
	readonly name: string;
}

/** The id of a user whom the caller named, by that or by the name. */
export function userId(client: AdminClient, given: string): Promise<string> {
	return idOf(
		given,
		"usr_",
		"user",
		async () => (await client.call<{ users: Named[] }>("GET", "/v1/admin/users")).users,
	);
}

/** ... and of a team. */
export function teamId(client: AdminClient, given: string): Promise<string> {
	return idOf(
		given,
		"team_",
		"team",
		async () => (await client.call<{ teams: Named[] }>("GET", "/v1/admin/teams")).teams,
	);
}

/** No name looks like an id. */
async function idOf(
	given: string,
	prefix: string,
	kind: string,
	list: () => Promise<readonly Named[]>,
): Promise<string> {
	if (given.startsWith(prefix)) return encodeURIComponent(given);
	const found = (await list()).find(({ name }) => name === given);
	if (!found) throw new CommandError(exitCodes.notFound, `there is no ${kind} ${given} that you administer`);
	return found.id;
}
