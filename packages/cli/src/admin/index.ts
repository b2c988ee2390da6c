import { Command, Option } from "commander";
import { auditCommand } from "./audit.js";
import { keyCommand } from "./keys.js";
import { memberCommand } from "./members.js";
import { teamCommand } from "./teams.js";
import { userCommand } from "./users.js";

const help = `
The API is found by GANGWAY_API_URL and GANGWAY_API_KEY. Without them, on the daemon's machine, by its data directory.
Users and teams are given by name or id.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 4 no right to do this, 5 not found.`;

/** `gangway admin`: the admin API for people and scripts. */
export function adminCommand(description: string): Command {
	const command = new Command("admin")
		.description(description)
		.addOption(new Option("--output <format>", "how answers are printed").choices(["text", "json"]).default("text"))
		.option("--data-dir <path>", "the daemon's data directory (env: GANGWAY_DATA_DIR)")
		.option("--config <path>", "the daemon's settings file")
		.addHelpText("after", help);
	for (const group of [userCommand(), teamCommand(), memberCommand(), keyCommand(), auditCommand()])
		command.addCommand(group);
	return command;
}
