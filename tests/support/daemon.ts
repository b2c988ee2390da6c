import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { RunloopSDK } from "@runloop/api-client";

const cli = new URL("../../packages/cli/dist/main.js", import.meta.url).pathname;

export const adminApiKey = "gw_test_key_of_the_end_to_end_tests";

export interface Endpoints {
	readonly api_url: string;
	readonly tls_port: number;
	readonly http_port: number;
	readonly ssh_port: number;
	readonly domain: string;
	readonly ca_cert: string;
}

export interface DaemonOptions {
	/** More settings, as environment variables. */
	readonly env?: Readonly<Record<string, string>>;
	/** `up` makes the demo devbox. */
	readonly command?: "serve" | "up";
}

/** The built daemon as a process of its own, on free ports and a temporary data directory. */
export class Daemon {
	readonly dataDir: string;
	readonly #options: DaemonOptions;
	#process: ChildProcess | undefined;
	#endpoints: Endpoints | undefined;
	/** Everything it printed, both streams. */
	output = "";

	private constructor(dataDir: string, options: DaemonOptions) {
		this.dataDir = dataDir;
		this.#options = options;
	}

	static async start(options: DaemonOptions = {}): Promise<Daemon> {
		const daemon = new Daemon(await mkdtemp(join(tmpdir(), "gangway-e2e-")), options);
		await daemon.start();
		return daemon;
	}

	/** Starts it again on the same data, after `stop` or `kill`; on the same ports, as a service would be. */
	async start(): Promise<void> {
		const ports = this.#endpoints;
		const child = spawn(process.execPath, [cli, this.#options.command ?? "serve"], {
			stdio: ["ignore", "pipe", "pipe"],
			cwd: this.dataDir,
			env: {
				PATH: process.env.PATH,
				GANGWAY_DATA_DIR: this.dataDir,
				GANGWAY_RUNTIME: "linux",
				GANGWAY_ADMIN_API_KEY: adminApiKey,
				GANGWAY_TLS_PORT: String(ports?.tls_port ?? 0),
				GANGWAY_HTTP_PORT: String(ports?.http_port ?? 0),
				GANGWAY_SSH_PORT: "0",
				GANGWAY_LOG_LEVEL: "debug",
				GANGWAY_DRAIN_TIMEOUT: "1",
				...this.#options.env,
			},
		});
		this.#process = child;
		child.stderr.on("data", (chunk) => {
			this.output += chunk;
		});
		await new Promise<void>((resolve, reject) => {
			createInterface(child.stdout).on("line", (line) => {
				this.output += `${line}\n`;
				if (line.startsWith("ready")) resolve();
			});
			child.once("exit", (code) => reject(new Error(`the daemon ended with ${code}:\n${this.output}`)));
		});
		this.#endpoints = JSON.parse(await readFile(join(this.dataDir, "endpoints.json"), "utf8"));
	}

	get endpoints(): Endpoints {
		return this.#endpoints!;
	}

	get pid(): number {
		return this.#process!.pid!;
	}

	/** The official client, over h2c. */
	sdk(options: { readonly bearerToken?: string } = {}): RunloopSDK {
		const baseURL = `http://127.0.0.1:${this.endpoints.http_port}`;
		return new RunloopSDK({ baseURL, bearerToken: adminApiKey, ...options });
	}

	/** What `openssl s_client -connect` takes. */
	get connect(): string {
		return `127.0.0.1:${this.endpoints.tls_port}`;
	}

	/** URL of a tunnel over plain HTTP; `*.localhost` needs `lookup` in clients other than curl and browsers. */
	tunnelUrl(key: string, port: number, path = "/"): string {
		return `http://${port}-${key}.tunnel.${this.endpoints.domain}:${this.endpoints.http_port}${path}`;
	}

	/** SIGTERM; boxes run on. Resolves with the exit code. */
	async stop(): Promise<number | null> {
		return this.#end("SIGTERM");
	}

	/** SIGKILL, as a crash. */
	async kill(): Promise<void> {
		await this.#end("SIGKILL");
	}

	/** Ends every box and the daemon, and removes its data. Whatever state it is in. */
	async remove(): Promise<void> {
		try {
			if (this.#process?.exitCode !== null || this.#process.signalCode !== null) await this.start();
			const client = this.sdk().api;
			for await (const box of client.devboxes.list()) {
				if (box.status !== "shutdown") await client.devboxes.shutdown(box.id);
			}
			await this.stop();
		} finally {
			await this.kill();
			await rm(this.dataDir, { recursive: true, force: true });
		}
	}

	async #end(signal: NodeJS.Signals): Promise<number | null> {
		const child = this.#process!;
		if (child.exitCode === null && child.signalCode === null) {
			const exited = once(child, "exit");
			child.kill(signal);
			await exited;
		}
		return child.exitCode;
	}
}
