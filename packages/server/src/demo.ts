import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "./config/index.js";
import { type Actor, type Devbox, type Devboxes, defaultTunnelParams } from "./devboxes/index.js";
import { readInstallation, type Store, writeInstallation } from "./store/index.js";

export interface Demo {
	readonly devboxId: string;
	/** A URL that answers as it is. */
	readonly url: string;
	/** A command that works as pasted. */
	readonly sshCommand: string;
}

export interface DemoOptions {
	readonly config: Config;
	readonly store: Store;
	readonly devboxes: Devboxes;
	readonly actor: Actor;
	/** The real port. */
	readonly tlsPort: number;
	readonly tunnelUrl: (tunnelKey: string, port: number) => string;
}

const port = 8080;
const installationKey = "demo_devbox_id";

/** Node, since a box of the runtime `linux` always has it; `-` keeps the page in one file. */
const server = `import { createServer } from "node:http";
import { hostname } from "node:os";

const page = \`<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Hello from a devbox</title>
<style>body{font:1.1rem/1.6 system-ui;max-width:36rem;margin:15vh auto;padding:0 1rem}code{background:#8882;padding:.1em .3em;border-radius:.3em}</style>
<h1>Hello from a devbox</h1>
<p>This page comes from <code>\${hostname()}</code>, port ${port}. Edit <code>~/demo/server.mjs</code> in the box to change it.</p>
<p>Leave the box alone for half an hour and it falls asleep; open this page again and it wakes up.</p>
\`;

createServer((request, response) => {
	response.setHeader("Content-Type", "text/html; charset=utf-8");
	response.end(page);
}).listen(${port}, "0.0.0.0");
`;

/** On an empty store: a devbox that shows both doors at once. Later: the same one again, as long as it lives. */
export async function demo(options: DemoOptions): Promise<Demo | undefined> {
	const { store, devboxes, actor, tunnelUrl } = options;
	let id = await readInstallation(store.db, installationKey);
	if (id === undefined) {
		if ((await devboxes.count(actor, {})) > 0) return undefined;
		id = (await createDemo(options)).id;
	}
	const wanted = ["running", "suspended", "failure", "shutdown"] as const;
	const box = await devboxes.waitForStatus(actor, id, wanted, 60_000, new AbortController().signal);
	if (box.status !== "running" && box.status !== "suspended") return undefined;
	if (!box.tunnel) return undefined;
	return { devboxId: id, url: `${tunnelUrl(box.tunnel.key, port)}/`, sshCommand: await sshCommand(options, box) };
}

function createDemo({ devboxes, actor }: DemoOptions): Promise<Devbox> {
	return devboxes.create(
		actor,
		{
			name: "demo",
			files: { "demo/server.mjs": server },
			launchParameters: {
				// Not an entrypoint: its end would be the box's.
				launchCommands: [
					"nohup node ~/demo/server.mjs >~/demo/server.log 2>&1 &",
					`until (: </dev/tcp/127.0.0.1/${port}) 2>/dev/null; do sleep 0.02; done`,
				],
				afterIdle: { idleTimeSeconds: 1800, onIdle: "suspend" },
				// So that the printed command works at any time; whoever reaches it is on this machine by default.
				resumeTriggers: { ssh: true },
			},
			tunnel: { ...defaultTunnelParams, wakeOnHttp: true },
		},
		{
			inTransaction: async (trx, devboxId) => writeInstallation(trx, installationKey, devboxId),
		},
	);
}

/** Leaves a key and a configuration for ssh in the data directory, so that the command is one short line. */
async function sshCommand(options: DemoOptions, box: Devbox): Promise<string> {
	const { config, devboxes, actor, tlsPort } = options;
	const directory = join(config.dataDir, "demo");
	const file = (name: string) => join(directory, name);
	const key = await devboxes.sshKey(actor, box.id);
	await mkdir(directory, { recursive: true, mode: 0o700 });
	await writeFile(file("id_ecdsa"), key.privateKeyPem, { mode: 0o600 });
	await writeFile(
		file("ssh_config"),
		[
			"Host demo",
			`  HostName ${key.hostname}`,
			`  User ${key.sshUser}`,
			`  IdentityFile ${file("id_ecdsa")}`,
			"  IdentitiesOnly yes",
			`  UserKnownHostsFile ${join(config.dataDir, "ssh_known_hosts")}`,
			`  ProxyCommand openssl s_client -quiet -servername %h -connect ${config.sshHost}:${tlsPort} 2>/dev/null`,
			"",
		].join("\n"),
	);
	return `ssh -F ${file("ssh_config")} demo`;
}
