import { readFile } from "node:fs/promises";
import { ifExists } from "./files.js";

/** A process beyond doubt: a pid alone is reused, a pid with its start time (clock ticks since boot) is not. */
export interface ProcessId {
	readonly pid: number;
	readonly startTime: string;
}

/** Reads a line of /proc/[pid]/stat. The command in parentheses may hold blanks and parentheses, so count from its end. */
export function parseStat(stat: string): (ProcessId & { readonly state: string }) | undefined {
	const pid = Number.parseInt(stat, 10);
	const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
	const state = fields[0];
	const startTime = fields[19];
	if (!(pid > 0) || !state || startTime === undefined) return undefined;
	return { pid, startTime, state };
}

export async function identify(pid: number): Promise<ProcessId | undefined> {
	const stat = await ifExists(readFile(`/proc/${pid}/stat`, "utf8"));
	const parsed = stat === undefined ? undefined : parseStat(stat);
	return parsed && { pid, startTime: parsed.startTime };
}

/** A zombie has ended; for PID 1 of a namespace that means that all of the namespace has. */
export async function isAlive(id: ProcessId): Promise<boolean> {
	const stat = await ifExists(readFile(`/proc/${id.pid}/stat`, "utf8"));
	const parsed = stat === undefined ? undefined : parseStat(stat);
	return parsed !== undefined && parsed.startTime === id.startTime && parsed.state !== "Z" && parsed.state !== "X";
}

/** A signal to a process that has ended is no error. */
export async function signal(id: ProcessId, name: NodeJS.Signals): Promise<void> {
	if (!(await isAlive(id))) return;
	try {
		process.kill(id.pid, name);
	} catch {}
}

/** Changes with every boot of the host: what a former boot noted about processes is void. */
export async function bootId(): Promise<string> {
	return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}
