import { randomBytes, randomInt } from "node:crypto";
import { mkdir, readdir, rename } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RuntimeError } from "../../errors.js";
import type { Attachment, Boot, BoxSpec, BoxState, Exit, Runtime, Started } from "../runtime.js";
import { Box, type RunFacts } from "./box.js";
import type { Cgroups } from "./cgroup.js";
import { followConsole } from "./console.js";
import { findLayers, makeLayers } from "./disk.js";
import { removeSnapshots, snapshotEtc } from "./etc.js";
import { namesIn } from "./files.js";
import { checkHost, checkOverlays, findCgroups } from "./host.js";
import { type BoxProcesses, type Launched, launch } from "./launcher.js";
import { Locks } from "./locks.js";
import { readMounts } from "./mounts.js";
import { Network } from "./network.js";
import { firstHost, lastHost } from "./network-range.js";
import { bootId, isAlive } from "./process.js";
import { run } from "./run.js";
import { BoxRun } from "./run-of-box.js";

export interface LinuxRuntimeOptions {
	/** The daemon's data directory. Boxes are in `devboxes/`, what they share in `linux/`. */
	readonly dataDir: string;
	/** TCP ports of this host that boxes may connect to: the edge's. Default: none. */
	readonly edgePorts?: readonly number[];
	/** For what goes wrong without anybody waiting for it. A pino logger fits. */
	readonly log?: Log;
	/** Delivered console output beyond this is given back to the disk. Bytes, default 16 MiB. */
	readonly consoleKeepBytes?: number;
}

export interface Log {
	warn(details: object, message: string): void;
}

/** After SIGKILL; a process in the middle of a long system call takes its time. */
const killPatienceMs = 10_000;

/** Runs boxes on this host's own files, for trusted code: see disk.ts, launcher-script.ts and firewall.ts for what keeps them apart. */
export class LinuxRuntime implements Runtime {
	readonly name = "linux";
	readonly #boxesDirectory: string;
	readonly #sharedDirectory: string;
	readonly #consoleKeepBytes: number;
	readonly #log: Log;
	readonly #locks = new Locks();
	readonly #boxes = new Map<string, Box>();
	readonly #takenHosts = new Set<number>();
	readonly #attachments = new Set<Attachment>();
	#edgePorts: readonly number[];
	#network: Network | undefined;
	#cgroups: Cgroups | undefined;
	#etc = "";
	#bootId = "";
	#nextHost = randomInt(firstHost, lastHost + 1);

	constructor(options: LinuxRuntimeOptions) {
		this.#boxesDirectory = join(resolve(options.dataDir), "devboxes");
		this.#sharedDirectory = join(resolve(options.dataDir), "linux");
		this.#edgePorts = [...(options.edgePorts ?? [])];
		this.#consoleKeepBytes = options.consoleKeepBytes ?? 16 * 1024 * 1024;
		this.#log = options.log ?? { warn: () => {} };
	}

	async open(): Promise<void> {
		await guard("the runtime could not be opened", async () => {
			await checkHost();
			await mkdir(this.#boxesDirectory, { recursive: true, mode: 0o700 });
			await mkdir(this.#sharedDirectory, { recursive: true, mode: 0o700 });
			this.#bootId = await bootId();
			const network = await Network.load(this.#sharedDirectory);
			const cgroups = findCgroups(await readMounts(), `gangway-${network.tag}`);
			await cgroups.open();
			this.#network = network;
			this.#cgroups = cgroups;
			this.#etc = await snapshotEtc(this.#sharedDirectory);
			await checkOverlays(this.#sharedDirectory, join(this.#sharedDirectory, this.#etc));
			await this.#adopt();
			const boxesRun = [...this.#boxes.values()].some((box) => box.run);
			if ((await network.avoidConflicts(boxesRun)) === "conflict")
				this.#log.warn(
					{},
					"another network of this host overlaps with the devboxes'; stop all devboxes to have it moved",
				);
			await network.open(this.#edgePorts);
			await this.#clean();
		});
	}

	async close(): Promise<void> {
		await this.#locks.idle();
		for (const attachment of this.#attachments) attachment.detach();
		this.#attachments.clear();
		const running = [...this.#boxes.values()].flatMap((box) => box.run ?? []);
		for (const boxRun of running) boxRun.abandon();
		this.#boxes.clear();
		this.#takenHosts.clear();
		const network = this.#network;
		const cgroups = this.#cgroups;
		this.#network = undefined;
		this.#cgroups = undefined;
		if (running.length > 0) return;
		await guard("the runtime could not be closed", async () => {
			await network?.close();
			await cgroups?.close();
		});
	}

	/** The edge's ports when they are known only after `open`, as with port 0. */
	async setEdgePorts(ports: readonly number[]): Promise<void> {
		this.#edgePorts = [...ports];
		await guard("the firewall could not be changed", async () => await this.#network?.applyFirewall(this.#edgePorts));
	}

	async create(spec: BoxSpec): Promise<void> {
		checkId(spec.id);
		await this.#exclusive(spec.id, "the devbox could not be created", async () => {
			if (this.#boxes.has(spec.id)) return;
			const host = this.#takeHost();
			try {
				const layers = await findLayers(await readMounts());
				const facts = { host, etc: this.#etc };
				this.#boxes.set(spec.id, await Box.create(this.#directory(spec.id), spec.id, facts, layers));
			} catch (error) {
				this.#takenHosts.delete(host);
				throw error;
			}
		});
	}

	async start(spec: BoxSpec, boot: Boot): Promise<Started> {
		checkSpec(spec, boot);
		return await this.#exclusive(spec.id, "the devbox could not be started", async () => {
			const box = this.#boxes.get(spec.id);
			if (!box) throw new RuntimeError("not_created", "the devbox has no disk");
			if (await box.run?.isAlive()) throw new RuntimeError("already_running", "the devbox runs already");
			await box.run?.ended;
			try {
				await this.#start(box, spec, boot);
			} catch (error) {
				// Whatever came to be of it must not outlive the answer.
				await this.#finish(box);
				throw error;
			}
			return { address: this.#host.network.addressOf(box.facts.host) };
		});
	}

	async stop(id: string, options: { readonly graceMs: number }): Promise<void> {
		await this.#exclusive(id, "the devbox could not be stopped", async () => {
			const box = this.#boxes.get(id);
			if (box) await this.#stop(box, options.graceMs);
		});
	}

	async destroy(id: string): Promise<void> {
		checkId(id);
		await this.#exclusive(id, "the devbox could not be removed", async () => {
			const box = this.#boxes.get(id);
			if (!box) return;
			await this.#stop(box, 0);
			const trash = join(this.#boxesDirectory, `.trash-${id}-${randomBytes(4).toString("hex")}`);
			// Gone at once for a crash's next `open`, which then finishes what takes longer.
			await rename(box.directory, trash);
			this.#boxes.delete(id);
			this.#takenHosts.delete(box.facts.host);
			await removeTree(trash);
		});
	}

	async inspect(id: string): Promise<BoxState> {
		const box = this.#boxes.get(id);
		if (!box) return { kind: "absent" };
		if (!(await box.run?.isAlive())) return { kind: "stopped" };
		return { kind: "running", address: this.#host.network.addressOf(box.facts.host) };
	}

	async list(): Promise<string[]> {
		return [...this.#boxes.keys()].sort();
	}

	attach(id: string, fromOffset: number, onOutput: (chunk: Buffer, endOffset: number) => void): Attachment {
		const box = this.#boxes.get(id);
		const follower = followConsole({
			path: join(this.#directory(id), "console.log"),
			fromOffset,
			onOutput,
			ended: box?.run?.ended ?? Promise.resolve(box?.lastExit ?? { outOfMemory: false }),
			keepBytes: this.#consoleKeepBytes,
			onError: (err) => this.#log.warn({ err, devbox: id }, "the console could not be read"),
		});
		this.#attachments.add(follower);
		follower.exited.then(() => this.#attachments.delete(follower));
		return {
			exited: follower.exited,
			detach: () => {
				this.#attachments.delete(follower);
				follower.detach();
			},
		};
	}

	get #host(): { network: Network; cgroups: Cgroups } {
		if (!this.#network || !this.#cgroups) throw new RuntimeError("failed", "the runtime is not open");
		return { network: this.#network, cgroups: this.#cgroups };
	}

	#directory(id: string): string {
		return join(this.#boxesDirectory, id);
	}

	#exclusive<T>(id: string, message: string, task: () => Promise<T>): Promise<T> {
		return this.#locks.run(id, () =>
			guard(message, async () => {
				void this.#host; // Throws unless open.
				return await task();
			}),
		);
	}

	/** The next free one in turn, so that the address of a box that is gone rests as long as it can. */
	#takeHost(): number {
		for (let tries = firstHost; tries <= lastHost; tries++) {
			const host = this.#nextHost;
			this.#nextHost = host === lastHost ? firstHost : host + 1;
			if (this.#takenHosts.has(host)) continue;
			this.#takenHosts.add(host);
			return host;
		}
		throw new RuntimeError("failed", "this host has no address left for another devbox");
	}

	async #start(box: Box, spec: BoxSpec, boot: Boot): Promise<void> {
		const { network, cgroups } = this.#host;
		const layers = await findLayers(await readMounts());
		await Promise.all([
			cgroups.create(box.id, spec.limits),
			network.removeLink(box.facts.host),
			makeLayers(box.disk, layers),
		]);
		let processes: BoxProcesses | undefined;
		const launched = await launch({
			spec,
			boot,
			address: network.addressOf(box.facts.host),
			disk: box.disk,
			etc: join(this.#sharedDirectory, box.facts.etc),
			console: box.console,
			layers,
			boxGroups: cgroups.directories(box.id),
			launcherGroups: cgroups.launcherDirectories(),
			link: network.linkCommands(box.facts.host),
			onProcess: async (found) => {
				processes = found;
				await box.writeRun({ kind: "running", bootId: this.#bootId, processes: found });
			},
		});
		if (processes) this.#watch(box, processes, launched);
	}

	#watch(box: Box, processes: BoxProcesses, launched?: Launched): void {
		const boxRun: BoxRun = new BoxRun({
			processes,
			launched,
			finish: async () => {
				const exit = await this.#finish(box);
				if (box.run === boxRun) box.run = undefined;
				return exit;
			},
		});
		box.run = boxRun;
	}

	/** Takes back what a run had of the host. What cannot be taken back now is left to the next start or `open`. */
	async #finish(box: Box): Promise<Exit> {
		try {
			const { network, cgroups } = this.#host;
			box.lastExit = { outOfMemory: (await cgroups.oomKills(box.id)) > 0 };
			// Before the group and its counter are gone.
			await box.writeRun({ kind: "ended", exit: box.lastExit });
			await Promise.all([cgroups.remove(box.id), network.removeLink(box.facts.host)]);
		} catch (err) {
			this.#log.warn({ err, devbox: box.id }, "what a stopped devbox had of the host could not all be removed");
		}
		return box.lastExit;
	}

	async #stop(box: Box, graceMs: number): Promise<void> {
		if (!box.run) return;
		if (graceMs > 0 && (await box.run.end("SIGTERM", graceMs))) return;
		if (!((await box.run?.end("SIGKILL", killPatienceMs)) ?? true))
			throw new RuntimeError("failed", "the devbox does not end");
	}

	/** Finds the boxes of an earlier daemon, and those of them that still run. */
	async #adopt(): Promise<void> {
		for (const id of await readdir(this.#boxesDirectory)) {
			const box = isId(id) ? await Box.load(this.#directory(id), id) : undefined;
			if (!box) continue;
			this.#boxes.set(id, box);
			this.#takenHosts.add(box.facts.host);
			const facts = await box.readRun();
			if (facts?.kind === "ended") box.lastExit = facts.exit;
			if (facts?.kind !== "running") continue;
			if (await this.#stillRuns(facts)) this.#watch(box, facts.processes);
			else await this.#finish(box);
		}
	}

	async #stillRuns(facts: RunFacts): Promise<boolean> {
		return facts.kind === "running" && facts.bootId === this.#bootId && (await isAlive(facts.processes.init));
	}

	/** Removes what no box refers to: the rest of starts, creations and removals that a crash cut short. */
	async #clean(): Promise<void> {
		const { network, cgroups } = this.#host;
		const boxes = [...this.#boxes.values()];
		for (const id of await cgroups.list()) if (!this.#boxes.get(id)?.run) await cgroups.remove(id);
		const linked = new Set(boxes.filter((box) => box.run).map((box) => box.facts.host));
		for (const host of await network.hosts()) if (!linked.has(host)) await network.removeLink(host);
		for (const name of await namesIn(this.#boxesDirectory))
			if (!this.#boxes.has(name)) await removeTree(join(this.#boxesDirectory, name));
		await removeSnapshots(this.#sharedDirectory, new Set([this.#etc, ...boxes.map((box) => box.facts.etc)]));
	}
}

/** rm and not fs.rm: a disk may have a million files, and the daemon's thread pool has four threads. */
async function removeTree(path: string): Promise<void> {
	await run("rm", ["-rf", "--one-file-system", "--", path]);
}

/** Keeps the errors of files and tools inside: callers get a `RuntimeError` with the reason as its cause. */
async function guard<T>(message: string, task: () => Promise<T>): Promise<T> {
	try {
		return await task();
	} catch (cause) {
		if (cause instanceof RuntimeError && cause.code !== "failed") throw cause;
		throw new RuntimeError("failed", message, { cause });
	}
}

function isId(id: string): boolean {
	return /^[a-z0-9][a-z0-9_-]{0,62}$/i.test(id);
}

/** An id is a name of directories and groups. */
function checkId(id: string): void {
	if (!isId(id)) throw new RuntimeError("failed", "not an id of a devbox");
}

function checkSpec(spec: BoxSpec, boot: Boot): void {
	checkId(spec.id);
	if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(spec.hostname))
		throw new RuntimeError("failed", "not a hostname of a devbox");
	for (const { path } of boot.files)
		if (path === "" || path.split("/").some((part) => part === "" || part === "." || part === ".."))
			throw new RuntimeError("failed", "not a path of a boot file");
}
