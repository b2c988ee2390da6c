import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./until.js";

/** What an installation's devboxes have of this host. All of it is told by the host, not by the daemon. */
export interface Footprint {
	/** Ids of processes in the installation's control groups: the boxes' and what starts them. */
	readonly processes: readonly number[];
	/** Network namespaces of those processes that are not the host's own. */
	readonly namespaces: readonly string[];
	/** Interfaces that lead to boxes. */
	readonly links: readonly string[];
	/** Boxes that have a control group, in any hierarchy. */
	readonly groups: readonly string[];
	/** Boxes that have a directory, and what was begun or is half removed. */
	readonly disks: readonly string[];
}

export function footprint(dataDir: string): Footprint {
	const tag = networkOf(dataDir)?.tag;
	if (tag === undefined) return { processes: [], namespaces: [], links: [], groups: [], disks: [] };
	const processes = processesIn(`gangway-${tag}`);
	const own = readlinkSync("/proc/self/ns/net");
	const namespaces = new Set(processes.flatMap((pid) => orNothing(() => [readlinkSync(`/proc/${pid}/ns/net`)])));
	namespaces.delete(own);
	const links = JSON.parse(execFileSync("ip", ["-j", "link"], { encoding: "utf8" })) as { ifname: string }[];
	return {
		processes,
		namespaces: [...namespaces].sort(),
		links: links.map(({ ifname }) => ifname).filter((name) => name.startsWith(`gw${tag}-`)),
		groups: [...new Set(groupsOf(tag).flatMap(children))].filter((name) => name.startsWith("dbx_")).sort(),
		disks: orNothing(() => readdirSync(join(dataDir, "devboxes"))).sort(),
	};
}

/** The last resort of a clean-up: takes back what is left when no daemon could do it. */
export async function sweep(dataDir: string): Promise<void> {
	const network = networkOf(dataDir);
	if (network === undefined) return;
	const { tag, block } = network;
	await until("the boxes' processes are gone", () => {
		const left = processesIn(`gangway-${tag}`);
		for (const pid of left) orNothing(() => [process.kill(pid, "SIGKILL")]);
		return left.length === 0;
	});
	for (const base of groupsOf(tag))
		for (const group of [...children(base).map((name) => join(base, name)), base]) orNothing(() => [rmdirSync(group)]);
	for (const [program, ...args] of [
		["nft", "delete", "table", "inet", `gangway_${tag}`],
		["ip", "route", "del", "unreachable", block],
	] as const)
		orNothing(() => [execFileSync(program, args, { stdio: "ignore" })]);
}

/** Open descriptors of a process. */
export function descriptors(pid: number): number {
	return readdirSync(`/proc/${pid}/fd`).length;
}

/** How far a process's resident memory has risen, at its highest, while `work` was under way. Bytes. */
export async function memoryGrowth(pid: number, work: () => Promise<unknown>): Promise<number> {
	const kilobytes = (field: string) =>
		Number(new RegExp(`^${field}:\\s*(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
	// proc(5): sets the highest mark back to what it is now.
	writeFileSync(`/proc/${pid}/clear_refs`, "5");
	const before = kilobytes("VmRSS");
	await work();
	return (kilobytes("VmHWM") - before) * 1024;
}

/** Undefined before the runtime was opened for the first time. */
function networkOf(dataDir: string): { readonly tag: string; readonly block: string } | undefined {
	const [text] = orNothing(() => [readFileSync(join(dataDir, "linux/network.json"), "utf8")]);
	return text === undefined ? undefined : JSON.parse(text);
}

function processesIn(group: string): number[] {
	const pattern = new RegExp(`/${group}(/|$)`, "m");
	return readdirSync("/proc")
		.filter((name) => /^\d+$/.test(name))
		.filter((pid) => orNothing(() => [readFileSync(`/proc/${pid}/cgroup`, "utf8")]).some((text) => pattern.test(text)))
		.filter((pid) => !isZombie(pid))
		.map(Number);
}

/** Has ended; whoever inherited it from a killed daemon has not asked for its exit code yet. */
function isZombie(pid: string): boolean {
	return orNothing(() => [readFileSync(`/proc/${pid}/stat`, "utf8")]).every((stat) => /\) [ZX] /.test(stat));
}

function groupsOf(tag: string): string[] {
	const roots = ["/sys/fs/cgroup", ...children("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name))];
	return roots.map((root) => join(root, `gangway-${tag}`));
}

function children(directory: string): string[] {
	return orNothing(() => readdirSync(directory, { withFileTypes: true }))
		.filter((entry) => entry.isDirectory())
		.map(({ name }) => name);
}

/** What is asked may be gone by then. */
function orNothing<T>(ask: () => T[]): T[] {
	try {
		return ask();
	} catch {
		return [];
	}
}
