import { spawn } from "node:child_process";
import { access, lstat, readdir } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Header, pack } from "tar-stream";
import { RuntimeError } from "../../errors.js";
import type { Boot, BoxSpec } from "../runtime.js";
import { type Layer, nodeLink, topLevel } from "./disk.js";
import { currentResolvConf } from "./etc.js";
import { ifExists } from "./files.js";
import { innerScript, outerScript } from "./launcher-script.js";
import { maskedSys, planMounts } from "./mount-plan.js";
import type { LinkCommands } from "./network.js";
import { identify, type ProcessId, parseStat } from "./process.js";
import { toolEnvironment } from "./run.js";

export interface Launch {
	readonly spec: BoxSpec;
	readonly boot: Boot;
	readonly address: string;
	/** Absolute paths. */
	readonly disk: string;
	readonly etc: string;
	readonly console: string;
	readonly layers: readonly Layer[];
	readonly boxGroups: readonly string[];
	readonly launcherGroups: readonly string[];
	readonly link: LinkCommands;
	/**
	 * Called before the box gets anything that it could run. When it fails, or the daemon dies before it ends, the box does
	 * not start.
	 */
	readonly onProcess: (processes: BoxProcesses) => Promise<void>;
}

export interface BoxProcesses {
	/** PID 1 of the box, as the host sees it. */
	readonly init: ProcessId;
	/** The process that outlives it by the time it takes to write the last of the console. */
	readonly launcher: ProcessId;
}

export interface Launched {
	/** Settles when the launcher, which is our child, has ended. */
	readonly ended: Promise<void>;
	/** Lets the daemon's event loop end before the box does. */
	release(): void;
}

const startTimeoutMs = 30_000;

/** Starts a box and resolves when its PID 1 is about to run. */
export async function launch(options: Launch): Promise<Launched> {
	const environment = await launcherEnvironment(options);
	const child = spawn("/bin/bash", ["--norc", "-c", outerScript], {
		cwd: "/",
		// A session of its own: signals to the daemon's terminal are not for boxes.
		detached: true,
		env: environment,
		stdio: ["pipe", "ignore", "ignore", "pipe"],
	});
	const ended = new Promise<void>((resolve) => {
		child.once("exit", () => resolve());
		child.once("error", () => resolve());
	});
	const reports = child.stdio[3] as Readable;
	const stop = setTimeout(() => reports.destroy(new Error("no answer from the launcher")), startTimeoutMs);
	try {
		await converse(options, child.pid, child.stdin as Writable, reports);
	} catch (cause) {
		child.stdin?.destroy();
		reports.destroy();
		throw new RuntimeError("failed", "the devbox could not be started", { cause });
	} finally {
		clearTimeout(stop);
	}
	return { ended, release: () => child.unref() };
}

/** The daemon's side of the launcher's reports: its process id, then "ready"; anything else is why it failed. */
async function converse(options: Launch, pid: number | undefined, input: Writable, reports: Readable): Promise<void> {
	// The launcher's end is told by its reports; what is not yet sent then has nobody to read it.
	input.on("error", () => {});
	const launcher = pid === undefined ? undefined : await identify(pid);
	let sent: Promise<unknown> | undefined;
	let text = "";
	for await (const chunk of reports as AsyncIterable<Buffer>) {
		text += chunk.toString();
		if (!sent && launcher) {
			const line = /^pid (.*)\n/.exec(text)?.[1];
			const init = line === undefined ? undefined : parseStat(line);
			if (init) {
				await options.onProcess({ init: { pid: init.pid, startTime: init.startTime }, launcher });
				sent = sendFiles(options, input).catch(() => {});
				text = text.slice(text.indexOf("\n") + 1);
			}
		}
		if (/^ready$/m.test(text)) {
			await sent;
			return;
		}
	}
	throw new Error(text.trim() || "the launcher ended without a word");
}

/** As a tar through a pipe: boot files hold keys, and so never touch a disk of the host. */
async function sendFiles({ spec, boot }: Launch, input: Writable): Promise<void> {
	const archive = pack();
	const resolvConf = await currentResolvConf();
	const entry = (header: Partial<Header> & Pick<Header, "name">, content?: string | Uint8Array) => {
		const owner = { uid: 0, gid: 0, mtime: new Date() };
		archive.entry({ ...owner, ...header } as Header, content === undefined ? "" : Buffer.from(content as Uint8Array));
	};
	for (const [name, minor, major = 1] of devices)
		entry({ name: `dev/${name}`, type: "character-device", mode: 0o666, devmajor: major, devminor: minor });
	for (const [name, linkname] of links) entry({ name, type: "symlink", linkname });
	if (isBelowUsr(process.execPath)) entry({ name: nodeLink.slice(1), type: "symlink", linkname: process.execPath });
	for (const [name, mode] of directories) entry({ name, type: "directory", mode });
	entry({ name: "etc/hostname", mode: 0o644 }, `${spec.hostname}\n`);
	entry({ name: "etc/resolv.conf", mode: 0o644 }, resolvConf);
	for (const { path, mode, content } of boot.files) entry({ name: `run/gangway/${path}`, mode }, content);
	// Last: tar takes an archive that was cut between two entries for a whole one, so the launcher looks for this.
	entry({ name: "run/user", type: "directory", mode: 0o755 });
	archive.finalize();
	await pipeline(archive, input);
}

/** [name, minor, major] */
const devices: readonly (readonly [string, number, number?])[] = [
	["null", 3],
	["zero", 5],
	["full", 7],
	["random", 8],
	["urandom", 9],
	["tty", 0, 5],
];

const links: readonly (readonly [string, string])[] = [
	["dev/ptmx", "pts/ptmx"],
	["dev/fd", "/proc/self/fd"],
	["dev/stdin", "/proc/self/fd/0"],
	["dev/stdout", "/proc/self/fd/1"],
	["dev/stderr", "/proc/self/fd/2"],
];

const directories: readonly (readonly [string, number])[] = [
	["run/gangway", 0o755],
	["run/lock", 0o1777],
	["run/sshd", 0o755],
];

async function launcherEnvironment(options: Launch): Promise<Record<string, string>> {
	const stats = await Promise.all(topLevel.map(async (path) => ({ path, stat: await ifExists(lstat(path)) })));
	const there = await Promise.all(
		maskedSys.map((path) =>
			access(path).then(
				() => [path],
				() => [],
			),
		),
	);
	const plan = planMounts({
		disk: options.disk,
		etc: options.etc,
		layers: options.layers,
		proc: await readdir("/proc"),
		topLevel: stats.filter(({ stat }) => stat?.isDirectory()).map(({ path }) => path),
		sys: there.flat(),
	});
	return {
		...toolEnvironment,
		GW_INNER: innerScript,
		GW_LAUNCHER_GROUPS: options.launcherGroups.join("\n"),
		GW_BOX_GROUPS: options.boxGroups.join("\n"),
		GW_CONSOLE: options.console,
		GW_LINKS: stats
			.filter(({ stat }) => stat?.isSymbolicLink())
			.map(({ path }) => path)
			.join("\n"),
		GW_NODE: isBelowUsr(process.execPath) ? "" : process.execPath,
		GW_STAGE: plan.stage,
		GW_BOX: plan.box,
		GW_NESTED: plan.nested.join("\n"),
		GW_HOSTNAME: options.spec.hostname,
		GW_HOSTS_LINE: `${options.address} ${options.spec.hostname}`,
		GW_LINK_BOX: options.link.box,
		GW_LINK_HOST: options.link.host,
	};
}

function isBelowUsr(path: string): boolean {
	return path.startsWith("/usr/");
}
