import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import type { Daemon } from "./daemon.js";

export interface Result {
	/** Null when a signal ended it. */
	readonly code: number | null;
	readonly stdout: Buffer;
	readonly stderr: string;
}

type Options = Readonly<Record<string, string>>;

/** The user's side of SSH: a key file and the exact ProxyCommand of the documentation, for one devbox. */
export class SshClient {
	/** Holds the key and whatever else a test wants to put there; goes with the daemon's data directory. */
	readonly directory: string;
	readonly user: string;
	readonly host: string;
	readonly keyFile: string;
	readonly proxyCommand: string;
	readonly #options: Options;

	private constructor(fields: Omit<SshClient, "target">, options: Options) {
		this.directory = fields.directory;
		this.user = fields.user;
		this.host = fields.host;
		this.keyFile = fields.keyFile;
		this.proxyCommand = fields.proxyCommand;
		this.#options = options;
	}

	static async for(daemon: Daemon, devboxId: string): Promise<SshClient> {
		const key = await daemon.sdk().api.devboxes.createSSHKey(devboxId);
		const directory = await mkdtemp(join(daemon.dataDir, "client-"));
		const keyFile = join(directory, "id");
		await writeFile(keyFile, key.ssh_private_key, { mode: 0o600 });
		const proxyCommand = `openssl s_client -quiet -servername %h -connect ${daemon.connect} 2>/dev/null`;
		const fields = { directory, user: key.ssh_user, host: key.url, keyFile, proxyCommand };
		return new SshClient(fields as SshClient, {
			IdentityFile: keyFile,
			IdentitiesOnly: "yes",
			ProxyCommand: proxyCommand,
			StrictHostKeyChecking: "no",
			UserKnownHostsFile: "/dev/null",
			LogLevel: "ERROR",
			BatchMode: "yes",
			// The default takes more processor time than the rest of a session; who uses `writeConfig` has the default.
			KexAlgorithms: "curve25519-sha256",
		});
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
		return new SshClient({ ...this, user } as SshClient, this.#options);
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
				`  ProxyCommand ${this.proxyCommand}`,
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
