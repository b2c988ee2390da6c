import { type Daemon, describeSettings, loadConfig, type SettingDescription, startDaemon } from "@gangway/server";
import { Command, Option } from "commander";
import { createLog } from "./log.js";

/** `gangway serve` and `gangway up`: every setting of the daemon is a flag. */
export function serveCommand(name: "serve" | "up", description: string): Command {
	const command = new Command(name)
		.description(description)
		.option("--config <path>", "settings file, YAML (default: gangway.yaml in the working directory, if there is one)");
	for (const setting of describeSettings()) command.addOption(option(setting));
	return command.action(async (flags: Record<string, string | boolean>) => serve(flags, name === "up"));
}

function option({ flag, placeholder, about, default: byDefault, variable, unit }: SettingDescription): Option {
	const notes = [`default: ${byDefault}`, ...(unit ? [unit] : []), `env: ${variable}`].join("; ");
	return new Option(placeholder ? `${flag} <${placeholder}>` : flag, `${about} (${notes})`);
}

async function serve(flags: Record<string, string | boolean>, withDemo: boolean): Promise<void> {
	const config = loadConfig({ flags });
	const log = await createLog(config.logLevel);
	const stop = stopSignal();
	const daemon = await startDaemon(config, log);
	try {
		const demo = withDemo ? await daemon.demo() : undefined;
		for (const line of readyLines(daemon, demo)) console.log(line);
		await stop;
		console.log("stopping; devboxes run on, and the next start finds them");
	} finally {
		await daemon.close();
	}
}

/** The first line is also for scripts that wait for it. */
function readyLines({ endpoints, adminKeyFile }: Daemon, demo: Awaited<ReturnType<Daemon["demo"]>>): string[] {
	const { api_url, domain, tls_port, http_port, ssh_port, ca_cert } = endpoints;
	const tunnels = `https://{port}-{key}.tunnel.${domain}:${tls_port}`;
	return [
		`ready  api ${api_url}  tunnels ${tunnels}  http ${http_port}  ssh ${ssh_port}`,
		...(demo ? [`  demo     ${demo.url}`, `           ${demo.sshCommand}`] : []),
		...(adminKeyFile === undefined ? [] : [`  API key  ${adminKeyFile}`]),
		...(ca_cert === null ? [] : [`  CA       ${ca_cert}  (curl --cacert)`]),
	];
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
