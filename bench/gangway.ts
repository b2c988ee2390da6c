/** The daemon as it is deployed, with one devbox; the servers that all peers forward to run in that box. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts, startProcess } from "./process.js";

export interface Gangway {
	readonly plainPort: number;
	readonly tlsPort: number;
	readonly pid: number;
	/** Where this host reaches the box. */
	readonly address: string;
	/** The tunnel's host name for a port of the box. */
	host(port: number): string;
	/** Ends the box, then the daemon. */
	close(): Promise<void>;
}

interface BoxPlan {
	/** By path relative to the box user's home. */
	readonly files: Readonly<Record<string, string>>;
	readonly commands: readonly string[];
}

const cli = fileURLToPath(new URL("../../../packages/cli/bin/gangway.js", import.meta.url));
const apiKey = "gw_key_of_the_benchmarks";
const domain = "bench.localhost";

export async function startGangway(dir: string, certificate: string, key: string, plan: BoxPlan): Promise<Gangway> {
	const [tlsPort = 0, plainPort = 0] = await freePorts(2);
	const daemon = await startProcess(process.execPath, [cli, "serve"], [tlsPort, plainPort], {
		GANGWAY_DATA_DIR: join(dir, "gangway"),
		GANGWAY_RUNTIME: "linux",
		GANGWAY_DOMAIN: domain,
		GANGWAY_TLS_PORT: String(tlsPort),
		GANGWAY_HTTP_PORT: String(plainPort),
		GANGWAY_SSH_PORT: "0",
		GANGWAY_TLS_CERT: certificate,
		GANGWAY_TLS_KEY: key,
		GANGWAY_ADMIN_API_KEY: apiKey,
		GANGWAY_LOG_LEVEL: "error",
	});
	const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
		const response = await fetch(`http://127.0.0.1:${plainPort}/v1/devboxes${path}`, {
			method,
			headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
			body: body === undefined ? null : JSON.stringify(body),
		});
		if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
		return (await response.json()) as T;
	};
	let id: string | undefined;
	const close = async () => {
		if (id !== undefined) await call("POST", `/${id}/shutdown`, {});
		await daemon.stop();
	};
	try {
		const box = await call<{ id: string; status: string; tunnel: { tunnel_key: string } }>(
			"POST",
			"/create_and_await_running",
			{
				tunnel: { auth_mode: "open" },
				file_mounts: plan.files,
				// As large as the machine: the box is never what is measured.
				launch_parameters: { resource_size_request: "XX_LARGE", launch_commands: ["hostname -I", ...plan.commands] },
			},
		);
		id = box.id;
		const { logs } = await call<{ logs: { message?: string }[] }>("GET", `/${id}/logs`);
		const address = logs.map(({ message }) => /^\d+\.\d+\.\d+\.\d+/.exec(message ?? "")?.[0]).find(Boolean);
		if (box.status !== "running" || address === undefined) {
			throw new Error(`the box of the bench did not start: ${JSON.stringify(logs)}`);
		}
		const { tunnel_key } = box.tunnel;
		const host = (port: number) => `${port}-${tunnel_key}.tunnel.${domain}`;
		return { plainPort, tlsPort, pid: daemon.pid, address, host, close };
	} catch (error) {
		await close();
		throw error;
	}
}

/** The compiled server for WebSockets, event streams and uploads. */
export function liveUpstream(): string {
	return readFileSync(new URL("./live-upstream.js", import.meta.url), "utf8");
}
