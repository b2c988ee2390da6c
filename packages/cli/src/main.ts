import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

const program = new Command("gangway")
	.description("Self-hosted devboxes that people and agents can reach")
	.version(version)
	.configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, "gangway:")) })
	.exitOverride();
for (const [name, description] of [
	["serve", "Run the daemon in the foreground"],
	["up", "Run the daemon; on an empty store, with a demo devbox to try"],
] as const) {
	program.addCommand((await daemonCommand(name, description)).copyInheritedSettings(program));
}

/** The daemon's code takes longer to load than most commands to run: it is loaded only where the command is named. */
async function daemonCommand(name: "serve" | "up", description: string): Promise<Command> {
	if (!process.argv.includes(name)) return new Command(name).description(description);
	const { serveCommand } = await import("./serve.js");
	return serveCommand(name, description);
}

/** Commander has said what is wrong by then. */
const usageError = 2;

try {
	await program.parseAsync();
} catch (error) {
	if (error instanceof CommanderError) {
		process.exitCode = error.exitCode === 0 ? 0 : usageError;
	} else {
		const { GangwayError } = await import("@gangway/server");
		if (!(error instanceof GangwayError)) throw error;
		console.error(`gangway: ${error.message}`);
		if (error.cause instanceof Error && error.code !== "config") console.error(`  because: ${error.cause.message}`);
		process.exitCode = error.code === "config" ? usageError : 1;
	}
}
