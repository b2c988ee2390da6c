/** Child processes of a run: started, watched for CPU and memory, and stopped by their own id. */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import * as net from "node:net";

const running = new Set<ChildProcess>();

process.once("exit", () => {
	// Their workers, too: who is killed cannot end its own.
	for (const child of running) for (const pid of family(child.pid ?? 0)) kill(pid);
});

/** Node with the options that a look inside needs: `BENCH_NODE_OPTIONS="--cpu-prof --cpu-prof-dir=/tmp/profiles"`. */
export const NODE: readonly string[] = [process.execPath, ...(process.env.BENCH_NODE_OPTIONS?.split(" ") ?? [])];

/** Starts a program that ends at the latest when we do. */
export function launch(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
	const child = spawn(command, args, options);
	running.add(child);
	child.once("close", () => running.delete(child));
	return child;
}

export interface Started {
	readonly pid: number;
	stop(): Promise<void>;
}

/** Starts a program and waits until it listens on all `ports`. */
export async function startProcess(
	command: readonly string[],
	ports: readonly number[],
	env: NodeJS.ProcessEnv = {},
): Promise<Started> {
	const [file = "", ...args] = command;
	const child = launch(file, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...env } });
	let errors = "";
	child.stderr?.on("data", (chunk: Buffer) => {
		errors = (errors + chunk.toString()).slice(-4000);
	});
	const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
	let ended = false;
	void gone.then(() => {
		ended = true;
	});
	for (const port of ports) {
		for (let attempt = 0; !(await answers(port)); attempt++) {
			if (ended || attempt > 200) throw new Error(`${file} did not start on port ${port}: ${errors}`);
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}
	return {
		pid: child.pid ?? 0,
		stop: async () => {
			child.kill("SIGTERM");
			const late = setTimeout(() => child.kill("SIGKILL"), 3000);
			await gone;
			clearTimeout(late);
		},
	};
}

async function answers(port: number): Promise<boolean> {
	return await new Promise((resolve) => {
		const socket = net.connect(port, "127.0.0.1");
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", () => resolve(false));
	});
}

export async function freePorts(count: number): Promise<number[]> {
	const servers = Array.from({ length: count }, () => net.createServer());
	const ports: number[] = [];
	for (const server of servers) {
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		ports.push((server.address() as net.AddressInfo).port);
	}
	for (const server of servers) await new Promise((resolve) => server.close(resolve));
	return ports;
}

function kill(pid: number): void {
	try {
		if (pid > 0) process.kill(pid, "SIGKILL");
	} catch {
		// Gone meanwhile.
	}
}

/** A process and all below it that are in its session: a daemon's workers, and not the boxes it runs. */
function family(pid: number): number[] {
	const session = stat(pid)?.[3];
	const parents = new Map<number, number>();
	for (const entry of readdirSync("/proc")) {
		if (!/^\d+$/.test(entry)) continue;
		const fields = stat(Number(entry));
		if (fields !== undefined && fields[3] === session) parents.set(Number(entry), Number(fields[1]));
	}
	const all = [pid];
	for (const one of all) for (const [child, parent] of parents) if (parent === one) all.push(child);
	return all;
}

/** The fields of /proc/<pid>/stat after the name: state, ppid, process group, session, … */
function stat(pid: number): string[] | undefined {
	try {
		const text = readFileSync(`/proc/${pid}/stat`, "latin1");
		return text.slice(text.lastIndexOf(")") + 2).split(" ");
	} catch {
		return undefined;
	}
}

const TICKS_PER_SECOND = 100;

/** CPU time that a process and those below it have used, in seconds. */
export function cpuSeconds(pid: number): number {
	let ticks = 0;
	for (const one of family(pid)) {
		const fields = stat(one);
		if (fields !== undefined) ticks += Number(fields[11]) + Number(fields[12]);
	}
	return ticks / TICKS_PER_SECOND;
}

/** Memory that a process and those below it hold, shared pages counted once each by their share, in bytes. */
export function memoryBytes(pid: number): number {
	let kilobytes = 0;
	for (const one of family(pid)) {
		try {
			const text = readFileSync(`/proc/${one}/smaps_rollup`, "latin1");
			kilobytes += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
		} catch {
			// Gone meanwhile.
		}
	}
	return kilobytes * 1024;
}

/** Runs a program to its end and returns what it printed. */
export async function output(command: string, args: readonly string[]): Promise<string> {
	return await new Promise((resolve, reject) => {
		const child = launch(command, args, { stdio: ["ignore", "pipe", "pipe"] });
		let [text, errors] = ["", ""];
		child.stdout?.on("data", (chunk: Buffer) => {
			text += chunk.toString();
		});
		child.stderr?.on("data", (chunk: Buffer) => {
			errors += chunk.toString();
		});
		child.once("error", reject);
		child.once("close", (code) => {
			if (code === 0) resolve(text);
			else reject(new Error(`${command} ended with ${code}: ${errors}${text}`));
		});
	});
}
