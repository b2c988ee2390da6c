/** The daemon as it is deployed; the servers that all peers forward to run in a devbox of its. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts, NODE, type Started, startProcess } from "./process.js";

export interface Gangway {
	readonly plainPort: number;
	readonly tlsPort: number;
	readonly sshPort: number;
	readonly pid: number;
	createBox(plan: BoxPlan): Promise<Box>;
	/** Lets whoever has this key in to every box, through the SSH gateway. */
	addSshKey(publicKey: string): Promise<void>;
	/** A daemon that has done nothing yet, before the same boxes. */
	restart(): Promise<void>;
	/** Ends the boxes, then the daemon. */
	close(): Promise<void>;
}

export interface Box {
	readonly id: string;
	/** Where this host reaches it. */
	readonly address: string;
	/** What opens its tunnel; empty where that is open. */
	readonly token: string;
	/** Its own SSH key, and the name of its sshd at the TLS port. */
	createSshKey(): Promise<BoxSshKey>;
	/** The tunnel's host name for a port of the box. */
	host(port: number): string;
}

export interface BoxSshKey {
	readonly ssh_private_key: string;
	readonly ssh_user: string;
	readonly url: string;
}

export interface BoxPlan {
	readonly auth: "open" | "authenticated";
	/** By path relative to the box user's home. */
	readonly files: Readonly<Record<string, string>>;
	readonly commands: readonly string[];
}

interface DevboxView {
	readonly id: string;
	readonly status: string;
	readonly tunnel: { readonly tunnel_key: string; readonly auth_token?: string };
}

const cli = fileURLToPath(new URL("../../../packages/cli/bin/gangway.js", import.meta.url));
const apiKey = "gw_key_of_the_benchmarks";
const domain = "bench.localhost";
const devboxes = "/v1/devboxes";

export async function startGangway(dir: string, certificate: string, key: string): Promise<Gangway> {
	const [tlsPort = 0, plainPort = 0, sshPort = 0] = await freePorts(3);
	const start = () =>
		startProcess([...NODE, cli, "serve"], [tlsPort, plainPort, sshPort], {
			GANGWAY_DATA_DIR: join(dir, "gangway"),
			GANGWAY_RUNTIME: "linux",
			GANGWAY_DOMAIN: domain,
			GANGWAY_TLS_PORT: String(tlsPort),
			GANGWAY_HTTP_PORT: String(plainPort),
			GANGWAY_SSH_PORT: String(sshPort),
			// All clients of the bench come from one address, and nginx and the others have no such limits.
			GANGWAY_TUNNEL_ADDRESS_CONNECTIONS: "0",
			GANGWAY_TUNNEL_ADDRESS_REQUESTS: "0",
			GANGWAY_TUNNEL_REQUESTS: "0",
			GANGWAY_SSH_ADDRESS_RATE: "0",
			GANGWAY_TLS_CERT: certificate,
			GANGWAY_TLS_KEY: key,
			GANGWAY_ADMIN_API_KEY: apiKey,
			GANGWAY_LOG_LEVEL: "error",
		});
	let daemon: Started = await start();
	const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
		const response = await fetch(`http://127.0.0.1:${plainPort}${path}`, {
			method,
			headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
			body: body === undefined ? null : JSON.stringify(body),
		});
		if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
		return (await response.json()) as T;
	};
	const ids: string[] = [];
	return {
		plainPort,
		tlsPort,
		sshPort,
		get pid() {
			return daemon.pid;
		},
		createBox: async ({ auth, files, commands }) => {
			const box = await call<DevboxView>("POST", `${devboxes}/create_and_await_running`, {
				tunnel: { auth_mode: auth },
				file_mounts: files,
				// As large as the machine: the box is never what is measured.
				launch_parameters: { resource_size_request: "XX_LARGE", launch_commands: ["hostname -I", ...commands] },
			});
			ids.push(box.id);
			const { logs } = await call<{ logs: { message?: string }[] }>("GET", `${devboxes}/${box.id}/logs`);
			const address = logs.map(({ message }) => /^\d+\.\d+\.\d+\.\d+/.exec(message ?? "")?.[0]).find(Boolean);
			if (box.status !== "running" || address === undefined) {
				throw new Error(`the box of the bench did not start: ${JSON.stringify(logs)}`);
			}
			const { tunnel_key, auth_token = "" } = box.tunnel;
			return {
				id: box.id,
				address,
				token: auth_token,
				createSshKey: () => call("POST", `${devboxes}/${box.id}/create_ssh_key`),
				host: (port) => `${port}-${tunnel_key}.tunnel.${domain}`,
			};
		},
		addSshKey: async (publicKey) => {
			await call("POST", "/users/me/ssh-keys", { name: "bench", public_key: publicKey });
		},
		restart: async () => {
			await daemon.stop();
			daemon = await start();
		},
		close: async () => {
			for (const id of ids) await call("POST", `${devboxes}/${id}/shutdown`, {}).catch((error) => console.error(error));
			await daemon.stop();
		},
	};
}
