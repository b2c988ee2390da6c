/** What is measured of SSH, with OpenSSH's client. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { cpuSeconds, launch, memoryBytes, output } from "./process.js";
import type { SshWay } from "./ssh-peers.js";
import { median } from "./statistics.js";
import type { Case, Goal } from "./suite.js";

type SshCase = Case<SshWay>;

const SESSIONS = 100;

const THROUGHPUT: readonly Goal[] = [
	{ of: "passthrough", peer: "haproxy", bound: 0.95 },
	{ of: "gateway", peer: "openssh", bound: 0.8 },
];
const OURS = ["passthrough", "gateway"];

/** A session that does nothing; open when this resolves. */
async function openIdle(args: readonly string[]): Promise<ChildProcess> {
	const child = launch("ssh", [...args, "echo open; cat"], { stdio: ["pipe", "pipe", "ignore"] });
	await once(child.stdout!, "readable");
	if (child.stdout!.read() === null) throw new Error("ssh did not get in");
	return child;
}

async function closeIdle(child: ChildProcess): Promise<void> {
	const closed = once(child, "close");
	child.stdin!.end();
	child.stdout!.resume();
	await closed;
}

/** CPU of what stands in between, in microseconds for each of `units`. */
async function cpuMicros(pid: number | undefined, units: number, work: () => Promise<void>) {
	const before = pid === undefined ? 0 : cpuSeconds(pid);
	await work();
	return pid === undefined ? undefined : ((cpuSeconds(pid) - before) * 1e6) / units;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
	const began = performance.now();
	await work();
	return performance.now() - began;
}

/** Zeroes through `ssh`, which is not slowed by a reader: the shell connects it with /dev/null. */
async function move(args: readonly string[], direction: "down" | "up", megabytes: number): Promise<void> {
	const zeroes = `head -c ${megabytes}M /dev/zero`;
	if (direction === "down") await output("sh", ["-c", 'exec ssh "$@" >/dev/null', "ssh", ...args, zeroes]);
	else await output("sh", ["-c", `${zeroes} | ssh "$@"`, "ssh", ...args, "cat >/dev/null"]);
}

/** On a connection that stands already: set-up has a case of its own. */
function transfer(direction: "down" | "up"): SshCase {
	return {
		name: `ssh-${direction}`,
		unit: "MB/s",
		moreIsBetter: true,
		goals: THROUGHPUT,
		measure: async ({ args, pid }, { dir }, seconds) => {
			const megabytes = seconds < 5 ? 200 : 1000;
			const path = join(dir, "mux");
			const master = await openIdle(["-M", "-S", path, ...args]);
			try {
				let taken = 0;
				const cpu = await cpuMicros(pid, megabytes, async () => {
					taken = await timed(() => move(["-S", path, ...args], direction, megabytes));
				});
				return { value: (megabytes * 1000) / taken, cpuMicros: cpu, errors: 0 };
			} finally {
				await closeIdle(master);
			}
		},
	};
}

const connect: SshCase = {
	name: "ssh-connect",
	unit: "ms",
	moreIsBetter: false,
	goals: OURS.map((of) => ({ of, peer: "openssh", bound: 60, as: "difference" })),
	measure: async ({ args, pid }, _world, seconds) => {
		const times: number[] = [];
		const count = 10 * seconds;
		const cpu = await cpuMicros(pid, count, async () => {
			while (times.length < count) times.push(await timed(() => output("ssh", [...args, "true"])));
		});
		return { value: median(times), cpuMicros: cpu, errors: 0 };
	},
};

/** A connection for each. */
const sessions: SshCase = {
	name: "ssh-sessions",
	unit: "MB/s",
	moreIsBetter: true,
	goals: THROUGHPUT,
	measure: async ({ args, pid }) => {
		const megabytes = 10;
		let errors = 0;
		let taken = 0;
		const one = () => move(args, "down", megabytes).catch(() => errors++);
		const cpu = await cpuMicros(pid, SESSIONS * megabytes, async () => {
			taken = await timed(() => Promise.all(Array.from({ length: SESSIONS }, one)));
		});
		return { value: ((SESSIONS - errors) * megabytes * 1000) / taken, cpuMicros: cpu, errors };
	},
};

/** One connection and one session each. */
const memory: SshCase = {
	name: "ssh-memory",
	unit: "KiB each",
	moreIsBetter: false,
	goals: OURS.map((of) => ({ of, bound: 300 })),
	fresh: true,
	// Of it there is only the box's sshd, which all the others have as well.
	without: ["openssh"],
	measure: async ({ args, pid = 0 }) => {
		const openSome = (count: number) => Promise.all(Array.from({ length: count }, () => openIdle(args)));
		const closeSome = (some: readonly ChildProcess[]) => Promise.all(some.map(closeIdle));
		// What is allocated once should not be counted.
		await closeSome(await openSome(20));
		await new Promise((resolve) => setTimeout(resolve, 1000));
		const before = memoryBytes(pid);
		const idle = await openSome(SESSIONS);
		// Long enough for whoever collects garbage at rest.
		await new Promise((resolve) => setTimeout(resolve, 12_000));
		const value = (memoryBytes(pid) - before) / SESSIONS / 1024;
		await closeSome(idle);
		return { value, cpuMicros: undefined, errors: 0 };
	},
};

export const SSH_CASES: readonly SshCase[] = [transfer("down"), transfer("up"), connect, sessions, memory];
