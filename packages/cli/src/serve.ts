import { type Daemon, describeSettings, loadConfig, type SettingDescription, startDaemon } from "@gangway/server";
import { Command, Option } from "commander";
import { destination, pino } from "pino";

/** `gangway serve` and `gangway up`: every setting of the daemon is a flag. */
export function serveCommand(name: "serve" | "up", description: string): Command {
	const command = new Command(name)
		.description(description)
		.option("--config <path>", "settings file (default: gangway.yaml where it is)");
	for (const setting of describeSettings()) command.addOption(option(setting));
	return command.action(async (flags: Record<string, string | boolean>) => serve(flags, name === "up"));
}

function option({ flag, placeholder, about, default: byDefault, variable, unit }: SettingDescription): Option {
	const notes = [`default: ${byDefault}`, ...(unit ? [unit] : []), `env: ${variable}`].join("; ");
	return new Option(placeholder ? `${flag} <${placeholder}>` : flag, `${about} (${notes})`);
}

async function serve(flags: Record<string, string | boolean>, withDemo: boolean): Promise<void> {
	const config = loadConfig({ flags });
	const log = pino({ level: config.logLevel }, destination({ fd: 2, sync: false }));
	const stop = stopSignal();
	const daemon = await startDaemon(config, log);
	try {
		const demo = withDemo ? await daemon.demo() : undefined;
		printReady(daemon);
		if (demo) console.log(`  demo: ${demo.url}\n        ${demo.sshCommand}`);
		if (daemon.adminKeyFile) console.log(`  API key: ${daemon.adminKeyFile}`);
		await stop;
		console.log("stopping; devboxes run on");
	} finally {
		await daemon.close();
	}
}

/** One line, for people and for scripts that wait for it. */
function printReady({ endpoints }: Daemon): void {
	const { api_url, domain, tls_port, http_port } = endpoints;
	const tunnels = `https://{port}-{key}.tunnel.${domain}:${tls_port}`;
	console.log(`ready  api ${api_url}  tunnels ${tunnels}  http ${http_port}`);
}

/** The first SIGTERM or SIGINT asks for a gentle end, the second ends at once. */
function stopSignal(): Promise<void> {
	return new Promise((resolve) => {
		for (const signal of ["SIGTERM", "SIGINT"] as const) {
			process.once(signal, () => {
				process.once(signal, () => process.exit(130));
				resolve();
			});
		}
	});
}
