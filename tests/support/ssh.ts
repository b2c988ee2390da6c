import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import type { Daemon } from "./daemon.js";

export interface Result {
	/** Null when a signal ended it. */
	readonly code: number | null;
	readonly stdout: Buffer;
	readonly stderr: string;
}

/** The user's side of SSH: a key file and the exact ProxyCommand of the documentation, for one devbox. */
export class SshClient {
	readonly directory: string;
	readonly user: string;
	readonly host: string;
	readonly #options: string[];

	private constructor(directory: string, user: string, host: string, options: string[]) {
		this.directory = directory;
		this.user = user;
		this.host = host;
		this.#options = options;
	}

	static async for(daemon: Daemon, devboxId: string): Promise<SshClient> {
		const key = await daemon.sdk().api.devboxes.createSSHKey(devboxId);
		const directory = await mkdtemp(join(tmpdir(), "gangway-ssh-"));
		const keyFile = join(directory, "id");
		await writeFile(keyFile, key.ssh_private_key, { mode: 0o600 });
		const proxy = `openssl s_client -quiet -servername %h -connect ${daemon.connect} 2>/dev/null`;
		const options = [
			["IdentityFile", keyFile],
			["IdentitiesOnly", "yes"],
			["ProxyCommand", proxy],
			["StrictHostKeyChecking", "no"],
			["UserKnownHostsFile", "/dev/null"],
			["LogLevel", "ERROR"],
			["BatchMode", "yes"],
		].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
		return new SshClient(directory, key.ssh_user, key.url, options);
	}

	get target(): string {
		return `${this.user}@${this.host}`;
	}

	/** `more` are further ssh options; they win over the usual ones. */
	options(...more: string[]): string[] {
		return [...more, ...this.#options];
	}

	spawn(command: readonly string[], more: readonly string[] = []): ChildProcess {
		return spawn("ssh", [...this.options(...more), this.target, ...command]);
	}

	/** Runs one remote command. */
	run(command: string, input?: Buffer | string, more: readonly string[] = []): Promise<Result> {
		return collect(this.spawn([command], more), input);
	}

	/** Runs another OpenSSH program with the same options: scp, sftp, rsync … */
	tool(program: string, args: readonly string[], input?: string): Promise<Result> {
		return collect(spawn(program, args), input);
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
