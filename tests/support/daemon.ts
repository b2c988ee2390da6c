import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { RunloopSDK } from "@runloop/api-client";
import { cli } from "./cli.js";
import { sweep } from "./host.js";

export const adminApiKey = "gw_test_key_of_the_end_to_end_tests";

const startWithinMs = 20_000;

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
	#apiKey = adminApiKey;
	#removed = false;
	/** Everything it printed, both streams. */
	output = "";
	/** What it told its user, and its log. */
	stdout = "";
	stderr = "";

	private constructor(dataDir: string, options: DaemonOptions) {
		this.dataDir = dataDir;
		this.#options = options;
	}

	static async start(options: DaemonOptions = {}): Promise<Daemon> {
		const daemon = new Daemon(await mkdtemp(join(tmpdir(), "gangway-e2e-")), options);
		try {
			await daemon.start();
		} catch (error) {
			await rm(daemon.dataDir, { recursive: true, force: true });
			throw error;
		}
		return daemon;
	}

	/** Starts it again on the same data, after `stop` or `kill`; on the same ports, as a service would be. */
	async start(): Promise<void> {
		// A test that ran out of time may go on behind the clean-up.
		if (this.#removed) throw new Error("this daemon has been removed");
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
				GANGWAY_SSH_PORT: String(ports?.ssh_port ?? 0),
				GANGWAY_LOG_LEVEL: "debug",
				GANGWAY_DRAIN_TIMEOUT: "1",
				...this.#options.env,
			},
		});
		this.#process = child;
		child.stderr.on("data", (chunk) => {
			this.output += chunk;
			this.stderr += chunk;
		});
		await new Promise<void>((resolve, reject) => {
			const late = setTimeout(() => {
				child.kill("SIGKILL");
				reject(new Error(`the daemon is not ready within ${startWithinMs} ms:\n${this.output}`));
			}, startWithinMs);
			createInterface(child.stdout).on("line", (line) => {
				this.output += `${line}\n`;
				this.stdout += `${line}\n`;
				if (!line.startsWith("ready")) return;
				clearTimeout(late);
				resolve();
			});
			child.once("exit", (code) => {
				clearTimeout(late);
				reject(new Error(`the daemon ended with ${code}:\n${this.output}`));
			});
		});
		this.#endpoints = JSON.parse(await readFile(join(this.dataDir, "endpoints.json"), "utf8"));
		// With none configured, it has made one of its own.
		if (this.#options.env?.GANGWAY_ADMIN_API_KEY === "") {
			this.#apiKey = (await readFile(join(this.dataDir, "admin.key"), "utf8")).trim();
		}
	}

	get endpoints(): Endpoints {
		return this.#endpoints!;
	}

	get pid(): number {
		return this.#process!.pid!;
	}

	/** The official client, over h2c unless told otherwise. */
	sdk(options: { readonly bearerToken?: string; readonly http2?: false } = {}): RunloopSDK {
		const baseURL = `http://127.0.0.1:${this.endpoints.http_port}`;
		return new RunloopSDK({ baseURL, bearerToken: this.#apiKey, ...options });
	}

	/** What `openssl s_client -connect` takes. */
	get connect(): string {
		return `127.0.0.1:${this.endpoints.tls_port}`;
	}

	/** What makes curl trust its certificates. */
	get trust(): readonly string[] {
		return ["--cacert", this.endpoints.ca_cert];
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
			this.#removed = true;
			await this.kill();
			await sweep(this.dataDir);
			await rm(this.dataDir, { recursive: true, force: true, maxRetries: 10 });
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
