import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { CommandError, exitCodes } from "./errors.js";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

const program = new Command("gangway")
	.description("Self-hosted devboxes that people and agents can reach")
	.version(version)
	.configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, "gangway:")) })
	.exitOverride();
for (const [name, description] of [
	["serve", "Run the daemon in the foreground"],
	["up", "Run the daemon; on an empty store, with a demo devbox to try"],
	["admin", "Manage users, teams, members and API keys; list the audit"],
] as const) {
	program.addCommand(inherit(await commandOf(name, description), program));
}

/** A command's code takes longer to load than most commands to run: it is loaded only where the command is named. */
async function commandOf(name: "serve" | "up" | "admin", description: string): Promise<Command> {
	if (!process.argv.includes(name)) return new Command(name).description(description);
	if (name === "admin") return (await import("./admin/index.js")).adminCommand(description);
	const { serveCommand } = await import("./serve.js");
	return serveCommand(name, description);
}

/** Commands that are made apart take nothing of how their parent reports errors. */
function inherit(command: Command, parent: Command): Command {
	command.copyInheritedSettings(parent);
	for (const child of command.commands) inherit(child, command);
	return command;
}

try {
	await program.parseAsync();
} catch (error) {
	if (error instanceof CommanderError) {
		// Commander has said what is wrong by then.
		process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
	} else if (error instanceof CommandError) {
		console.error(`gangway: ${error.message}`);
		process.exitCode = error.exitCode;
	} else {
		const { GangwayError } = await import("@gangway/server");
		if (!(error instanceof GangwayError)) throw error;
		console.error(`gangway: ${error.message}`);
		if (error.cause instanceof Error && error.code !== "config") console.error(`  because: ${error.cause.message}`);
		process.exitCode = error.code === "config" ? exitCodes.usage : 1;
	}
}
