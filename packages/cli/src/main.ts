import { GangwayError, version } from "@gangway/server";
import { Command, CommanderError } from "commander";
import { serveCommand } from "./serve.js";

const program = new Command("gangway")
	.description("Self-hosted devboxes that people and agents can reach")
	.version(version)
	.exitOverride();
for (const command of [
	serveCommand("serve", "Run the daemon in the foreground"),
	serveCommand("up", "Run the daemon; on an empty store, with a demo devbox to try"),
]) {
	program.addCommand(command.copyInheritedSettings(program));
}

/** Commander has said what is wrong by then. */
const usageError = 2;

try {
	await program.parseAsync();
} catch (error) {
	if (error instanceof CommanderError) {
		process.exitCode = error.exitCode === 0 ? 0 : usageError;
	} else if (error instanceof GangwayError) {
		console.error(`gangway: ${error.message}`);
		if (error.cause instanceof Error && error.code !== "config") console.error(`  because: ${error.cause.message}`);
		process.exitCode = error.code === "config" ? usageError : 1;
	} else throw error;
}
