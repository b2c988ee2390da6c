import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { RuntimeError } from "../../errors.js";
import type { BoxSpec } from "../runtime.js";
import { hasCode, ifExists, namesIn } from "./files.js";
import type { Mount } from "./mounts.js";

export type Limits = BoxSpec["limits"];

/**
 * The control groups of one installation: a group of its own, a child per box below it, and one for the launchers,
 * which live outside of their box's limits but must not stay in the daemon's group (systemd ends that as a whole).
 */
export abstract class Cgroups {
	/** The installation's directory in each hierarchy. */
	protected readonly bases: readonly string[];

	constructor(roots: readonly string[], name: string) {
		this.bases = [...new Set(roots)].map((root) => join(root, name));
	}

	/** Whether boxes' shares of the CPU are limited here too. */
	abstract readonly limitsCpu: boolean;
	protected abstract prepare(): Promise<void>;
	protected abstract limit(id: string, limits: Limits): Promise<void>;
	/** How many processes of the box the kernel has killed for its memory limit since `create`. */
	abstract oomKills(id: string): Promise<number>;

	async open(): Promise<void> {
		await this.#make(this.bases);
		await this.prepare();
		await this.#make(this.launcherDirectories());
	}

	launcherDirectories(): string[] {
		return this.directories("_launchers");
	}

	directories(id: string): string[] {
		return this.bases.map((base) => join(base, id));
	}

	/** Makes the box's group, empty and limited. */
	async create(id: string, limits: Limits): Promise<void> {
		// What an earlier run left would count against this one's memory and out-of-memory kills.
		await this.remove(id);
		await this.#make(this.directories(id));
		await this.limit(id, limits);
	}

	/** Ids of all boxes that have a group. */
	async list(): Promise<string[]> {
		const ids = new Set<string>();
		for (const base of this.bases)
			for (const name of await namesIn(base)) if (/^[a-z0-9][a-z0-9_-]*$/i.test(name)) ids.add(name);
		// Groups' own files ("cgroup.procs", "memory.max") have dots, but for these two of version 1.
		ids.delete("tasks");
		ids.delete("notify_on_release");
		return [...ids];
	}

	/** Kills everything in the box's group and removes it. No group is fine. */
	async remove(id: string): Promise<void> {
		for (const directory of this.directories(id)) await this.#removeOne(directory, 5_000);
	}

	/** Removes the installation's group when nothing runs in it. */
	async close(): Promise<void> {
		for (const directory of [...this.launcherDirectories(), ...this.bases]) {
			try {
				await rmdir(directory);
			} catch (error) {
				if (!hasCode(error, "ENOENT") && !hasCode(error, "EBUSY") && !hasCode(error, "ENOTEMPTY")) throw error;
			}
		}
	}

	async #make(directories: readonly string[]): Promise<void> {
		await Promise.all(directories.map((directory) => mkdir(directory, { recursive: true })));
	}

	async #removeOne(directory: string, patienceMs: number): Promise<void> {
		const deadline = Date.now() + patienceMs;
		for (;;) {
			try {
				await rmdir(directory);
				return;
			} catch (error) {
				if (hasCode(error, "ENOENT")) return;
				if (Date.now() > deadline) throw error;
			}
			await killAll(directory);
			await delay(2);
		}
	}
}

async function killAll(directory: string): Promise<void> {
	try {
		// Version 2 from Linux 5.14 on: also gets what forks faster than a loop kills.
		await writeFile(join(directory, "cgroup.kill"), "1", { flag: "r+" });
		return;
	} catch {}
	const pids = (await ifExists(readFile(join(directory, "cgroup.procs"), "utf8"))) ?? "";
	for (const pid of pids.split("\n").map(Number)) {
		// 0 stands for a process outside of our PID namespace; kill(0) would hit the daemon itself.
		if (!(pid > 1)) continue;
		try {
			process.kill(pid, "SIGKILL");
		} catch {}
	}
}

export async function writeLimit(directory: string, file: string, value: string): Promise<void> {
	await writeFile(join(directory, file), value);
}

/** A limit that not every kernel has: swap can be left out of it. */
export async function writeOptionalLimit(directory: string, file: string, value: string): Promise<void> {
	try {
		await writeLimit(directory, file, value);
	} catch (error) {
		// The answer of cgroupfs to making a file, which is what writing to a missing one means.
		if (!hasCode(error, "EACCES") && !hasCode(error, "EPERM")) throw error;
	}
}

/** The number after `key` in a file of `key value` lines. */
export async function readCount(path: string, key: string): Promise<number> {
	const text = (await ifExists(readFile(path, "utf8"))) ?? "";
	const line = text.split("\n").find((candidate) => candidate.startsWith(`${key} `));
	return line === undefined ? 0 : Number(line.slice(key.length + 1));
}

export function missingController(name: string): RuntimeError {
	return new RuntimeError("unsupported_host", `this host has no cgroup controller "${name}", which limits devboxes`);
}

export function findMount(mounts: readonly Mount[], type: string, option?: string): string | undefined {
	return mounts.find((mount) => mount.type === type && (!option || mount.superOptions.includes(option)))?.path;
}
