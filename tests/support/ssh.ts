import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { adminApiKey, type Daemon } from "./daemon.js";

export interface Result {
	/** Null when a signal ended it. */
	readonly code: number | null;
	readonly stdout: Buffer;
	readonly stderr: string;
}

type Options = Readonly<Record<string, string>>;
type Fields = Pick<SshClient, "directory" | "user" | "host" | "keyFile" | "way">;

/** The user's side of SSH, for one devbox: its own key and the documentation's ProxyCommand, or a key of theirs and the gateway. */
export class SshClient {
	/** Holds the key and whatever else a test wants to put there; goes with the daemon's data directory. */
	readonly directory: string;
	readonly user: string;
	readonly host: string;
	readonly keyFile: string;
	/** What leads to it: the setting of ssh_config(5) and its value. */
	readonly way: readonly ["ProxyCommand" | "Port", string];
	readonly #options: Options;

	private constructor(fields: Fields, options: Options) {
		this.directory = fields.directory;
		this.user = fields.user;
		this.host = fields.host;
		this.keyFile = fields.keyFile;
		this.way = fields.way;
		this.#options = options;
	}

	static async for(daemon: Daemon, devboxId: string): Promise<SshClient> {
		const key = await daemon.sdk().api.devboxes.createSSHKey(devboxId);
		const directory = await mkdtemp(join(daemon.dataDir, "client-"));
		const keyFile = join(directory, "id");
		await writeFile(keyFile, key.ssh_private_key, { mode: 0o600 });
		const proxyCommand = `openssl s_client -quiet -servername %h -connect ${daemon.connect} 2>/dev/null`;
		return SshClient.#to({
			directory,
			user: key.ssh_user,
			host: key.url,
			keyFile,
			way: ["ProxyCommand", proxyCommand],
		});
	}

	/** Through the gateway, with a key of the user whose API key this is; by default the administrator's. */
	static async throughGateway(
		daemon: Daemon,
		devboxId: string,
		apiKey = adminApiKey,
		keyOptions: readonly string[] = [],
	): Promise<SshClient> {
		const directory = await mkdtemp(join(daemon.dataDir, "client-"));
		const keyFile = await makeKey(directory, ...keyOptions);
		await uploadKey(daemon, `${keyFile}.pub`, apiKey);
		return SshClient.atGateway(daemon, devboxId, keyFile);
	}

	/** Through the gateway, with this key, whether anybody knows it or not. */
	static atGateway(daemon: Daemon, username: string, keyFile: string): SshClient {
		const way = ["Port", String(daemon.endpoints.ssh_port)] as const;
		return SshClient.#to({ directory: dirname(keyFile), user: username, host: "127.0.0.1", keyFile, way });
	}

	static #to(fields: Fields): SshClient {
		return new SshClient(fields, {
			IdentityFile: fields.keyFile,
			IdentitiesOnly: "yes",
			[fields.way[0]]: fields.way[1],
			StrictHostKeyChecking: "no",
			UserKnownHostsFile: "/dev/null",
			LogLevel: "ERROR",
			BatchMode: "yes",
			// The default takes more processor time than the rest of a session; who uses `writeConfig` has the default.
			KexAlgorithms: "curve25519-sha256",
		});
	}

	/** Of one that does not go through the gateway. */
	get proxyCommand(): string {
		return this.way[1];
	}

	get target(): string {
		return `${this.user}@${this.host}`;
	}

	/** The same client, but for these settings of ssh_config(5). */
	with(options: Options): SshClient {
		return new SshClient(this, { ...this.#options, ...options });
	}

	/** The same client and key, for another user of the box. */
	as(user: string): SshClient {
		return new SshClient({ ...this, user }, this.#options);
	}

	/** For any program of OpenSSH. `more` are further options; they win over the usual ones. */
	options(...more: string[]): string[] {
		const usual = Object.entries(this.#options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
		return [...more, "-F", "none", ...usual];
	}

	spawn(command: readonly string[], more: readonly string[] = []): ChildProcess {
		return spawn("ssh", [...this.options(...more), this.target, ...command]);
	}

	/** Runs one remote command. */
	run(command: string, input?: Buffer | string, more: readonly string[] = []): Promise<Result> {
		return collect(this.spawn([command], more), input);
	}

	/** What a remote command prints, without the last line break. Throws unless it exits with 0. */
	async out(command: string, input?: Buffer | string): Promise<string> {
		const { code, stdout, stderr } = await this.run(command, input);
		if (code !== 0) throw new Error(`exit code ${code} of ${command}\n${stdout}${stderr}`);
		return String(stdout).replace(/\n$/, "");
	}

	/** Runs another OpenSSH program with the same options (scp, sftp); `args` follow them. */
	tool(program: string, args: readonly string[], input?: string): Promise<Result> {
		return collect(spawn(program, [...this.options(), ...args]), input);
	}

	/**
	 * The entry of `~/.ssh/config` as the documentation has it, for a plain `ssh <alias>` with `-F`.
	 * Returns the file. `more` goes below it.
	 */
	async writeConfig(alias: string, more = ""): Promise<string> {
		const file = join(this.directory, "config");
		await writeFile(
			file,
			[
				`Host ${alias}`,
				`  Hostname ${this.host}`,
				`  User ${this.user} # the user defined in the devbox params`,
				`  IdentityFile ${this.keyFile}`,
				`  ${this.way.join(" ")}`,
				"Host *",
				"  StrictHostKeyChecking no",
				"  UserKnownHostsFile /dev/null",
				"  LogLevel ERROR",
				"  BatchMode yes",
				more,
			].join("\n"),
		);
		return file;
	}

	remove(): Promise<void> {
		return rm(this.directory, { recursive: true, force: true });
	}
}

/** A new key pair; returns the private one's file, beside which the public one lies. */
export async function makeKey(directory: string, ...options: string[]): Promise<string> {
	const file = join(directory, "id");
	await collect(spawn("ssh-keygen", ["-q", "-t", "ed25519", ...options, "-N", "", "-f", file]));
	return file;
}

/** Makes a public key the user's whose API key this is; returns its id. */
export async function uploadKey(daemon: Daemon, publicKeyFile: string, apiKey = adminApiKey): Promise<string> {
	const body = { name: publicKeyFile, public_key: await readFile(publicKeyFile, "utf8") };
	const response = await fetch(`http://127.0.0.1:${daemon.endpoints.http_port}/users/me/ssh-keys`, {
		method: "POST",
		headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
		body: JSON.stringify(body),
	});
	const { data, error } = (await response.json()) as { data?: { id: string }; error?: { message: string } };
	if (!data) throw new Error(error?.message);
	return data.id;
}

export async function collect(child: ChildProcess, input?: Buffer | string): Promise<Result> {
	const ended = once(child, "close");
	child.stdin?.on("error", () => undefined);
	child.stdin?.end(input);
	const [stdout, stderr] = await Promise.all([buffer(child.stdout!), text(child.stderr!)]);
	const [code] = await ended;
	return { code, stdout, stderr };
}

/** A program that is spoken with while it runs. Its output is kept; `sees` waits for a part of it. */
export class Conversation {
	readonly #child: ChildProcess;
	readonly ended: Promise<number | null>;
	output = "";
	#wake: () => void = () => undefined;

	constructor(child: ChildProcess) {
		this.#child = child;
		child.stdin?.on("error", () => undefined);
		for (const stream of [child.stdout, child.stderr]) {
			stream?.on("data", (chunk) => {
				this.output += chunk;
				this.#wake();
			});
		}
		this.ended = once(child, "close").then(([code]) => code);
	}

	say(text: string): void {
		this.#child.stdin!.write(text);
	}

	/** Closes its stdin and waits for its exit code. */
	hangUp(): Promise<number | null> {
		this.#child.stdin!.end();
		return this.ended;
	}

	/** Ends it. Not with SIGKILL: `openssl s_client -quiet` does not notice that ssh is gone unless it is told. */
	async kill(): Promise<void> {
		this.#child.kill("SIGTERM");
		await this.ended;
	}

	/** Resolves with the match as soon as the output has it; rejects when the program ends without. */
	async sees(pattern: RegExp): Promise<RegExpExecArray> {
		for (;;) {
			const match = pattern.exec(this.output);
			if (match) return match;
			const news = new Promise<false>((resolve) => {
				this.#wake = () => resolve(false);
			});
			const over = await Promise.race([news, this.ended.then(() => true)]);
			if (over && !pattern.test(this.output)) throw new Error(`ended without ${pattern}:\n${this.output}`);
		}
	}
}
