import { GangwayError, version } from "@gangway/server";
import { Command } from "commander";
import { serveCommand } from "./serve.js";

const program = new Command("gangway")
	.description("Self-hosted devboxes that people and agents can reach")
	.version(version)
	.addCommand(serveCommand("serve", "Run the daemon in the foreground"))
	.addCommand(serveCommand("up", "Run the daemon; on an empty store, with a demo devbox to try"));

try {
	await program.parseAsync();
} catch (error) {
	if (!(error instanceof GangwayError)) throw error;
	console.error(`gangway: ${error.message}`);
	if (error.cause instanceof Error && error.code !== "config") console.error(`  because: ${error.cause.message}`);
	process.exitCode = error.code === "config" ? 2 : 1;
}
