import { randomBytes, randomInt } from "node:crypto";
import { readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError } from "../../errors.js";
import type { Boot, BoxSpec, Exit } from "../runtime.js";
import { Box } from "./box.js";
import type { Cgroups } from "./cgroup.js";
import { findLayers, makeLayers, mountableLayers } from "./disk.js";
import { removeSnapshots } from "./etc.js";
import { namesIn } from "./files.js";
import { type BoxProcesses, type Launched, launch } from "./launcher.js";
import { readMounts } from "./mounts.js";
import type { Network } from "./network.js";
import { firstHost, lastHost } from "./network-range.js";
import { isAlive } from "./process.js";
import { run } from "./run.js";
import { BoxRun } from "./run-of-box.js";
import { isId } from "./spec.js";

export interface Log {
	warn(details: object, message: string): void;
}

export interface InstallationParts {
	readonly network: Network;
	readonly cgroups: Cgroups;
	readonly directories: { readonly boxes: string; readonly shared: string };
	/** The snapshot of `/etc` for new boxes. */
	readonly etc: string;
	readonly bootId: string;
	readonly log: Log;
}

/** After SIGKILL; a process in the middle of a long system call takes its time. */
const killPatienceMs = 10_000;

/** An open runtime's boxes and what they have of the host. Calls about one box must not overlap; the runtime sees to it. */
export class Installation {
	readonly network: Network;
	readonly boxes = new Map<string, Box>();
	readonly #parts: InstallationParts;
	readonly #takenHosts = new Set<number>();
	#nextHost = randomInt(firstHost, lastHost + 1);

	constructor(parts: InstallationParts) {
		this.#parts = parts;
		this.network = parts.network;
	}

	get running(): BoxRun[] {
		return [...this.boxes.values()].flatMap((box) => box.run ?? []);
	}

	addressOf(box: Box): string {
		return this.network.addressOf(box.facts.host);
	}

	async create(id: string): Promise<void> {
		const host = this.#takeHost();
		try {
			const layers = await findLayers(await readMounts());
			const directory = join(this.#parts.directories.boxes, id);
			this.boxes.set(id, await Box.create(directory, id, { host, etc: this.#parts.etc }, layers));
		} catch (error) {
			this.#takenHosts.delete(host);
			throw error;
		}
	}

	async start(box: Box, spec: BoxSpec, boot: Boot): Promise<void> {
		try {
			await this.#launch(box, spec, boot);
		} catch (error) {
			// Whatever came to be of it must not outlive the answer.
			await this.#finish(box);
			throw error;
		}
	}

	async stop(box: Box, graceMs: number): Promise<void> {
		const boxRun = box.run;
		if (!boxRun) return;
		if (graceMs > 0 && (await boxRun.end("SIGTERM", graceMs))) return;
		if (!(await boxRun.end("SIGKILL", killPatienceMs))) throw new RuntimeError("failed", "the devbox does not end");
	}

	async remove(box: Box): Promise<void> {
		const trash = join(this.#parts.directories.boxes, `.trash-${box.id}-${randomBytes(4).toString("hex")}`);
		// Gone at once; after a crash the next `clean` finishes what takes longer.
		await rename(box.directory, trash);
		this.boxes.delete(box.id);
		this.#takenHosts.delete(box.facts.host);
		await removeTree(trash);
	}

	/** Finds the boxes of an earlier daemon, and those of them that still run. */
	async adopt(): Promise<void> {
		for (const id of await readdir(this.#parts.directories.boxes)) {
			const box = isId(id) ? await Box.load(join(this.#parts.directories.boxes, id), id) : undefined;
			if (!box) continue;
			this.boxes.set(id, box);
			this.#takenHosts.add(box.facts.host);
			const facts = await box.readRun();
			if (facts?.kind === "ended") box.lastExit = facts.exit;
			if (facts?.kind !== "running") continue;
			const runs = facts.bootId === this.#parts.bootId && (await isAlive(facts.processes.init));
			if (runs) this.#watch(box, facts.processes);
			else await this.#finish(box);
		}
	}

	/** Removes what no box refers to: the rest of starts, creations and removals that a crash cut short. */
	async clean(): Promise<void> {
		const { cgroups, directories, etc, log } = this.#parts;
		const boxes = [...this.boxes.values()];
		for (const id of await cgroups.list()) if (!this.boxes.get(id)?.run) await cgroups.remove(id);
		const linked = new Set(boxes.filter((box) => box.run).map((box) => box.facts.host));
		for (const host of await this.network.hosts()) if (!linked.has(host)) await this.network.removeLink(host);
		let damaged = false;
		for (const name of await namesIn(directories.boxes)) {
			if (this.boxes.has(name)) continue;
			// Only what is half made or half removed has such a name. Anything else may be a disk whose box.json is damaged.
			if (/^\.(new|trash)-/.test(name)) await removeTree(join(directories.boxes, name));
			else {
				damaged = true;
				log.warn({ path: join(directories.boxes, name) }, "this is no devbox, or one without its box.json: left alone");
			}
		}
		// Which snapshot such a disk needs is not known.
		if (!damaged) await removeSnapshots(directories.shared, new Set([etc, ...boxes.map((box) => box.facts.etc)]));
	}

	/** Lets go of running boxes; without any, takes everything back from the host. */
	async close(): Promise<void> {
		const running = this.running;
		for (const boxRun of running) boxRun.abandon();
		// Isolation must hold while the daemon is away.
		if (running.length > 0) return;
		await this.network.close();
		await this.#parts.cgroups.close();
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

	async #launch(box: Box, spec: BoxSpec, boot: Boot): Promise<void> {
		const { cgroups, directories, bootId } = this.#parts;
		const layers = await mountableLayers(box.disk, await findLayers(await readMounts()));
		await Promise.all([
			cgroups.create(box.id, spec.limits),
			this.network.removeLink(box.facts.host),
			makeLayers(box.disk, layers),
			// Its reader comes before its writer.
			writeFile(box.console, "", { flag: "a", mode: 0o600 }),
		]);
		let processes: BoxProcesses | undefined;
		const launched = await launch({
			spec,
			boot,
			address: this.addressOf(box),
			disk: box.disk,
			etc: join(directories.shared, box.facts.etc),
			console: box.console,
			layers,
			boxGroups: cgroups.directories(box.id),
			launcherGroups: cgroups.launcherDirectories(),
			link: this.network.linkCommands(box.facts.host),
			onProcess: async (found) => {
				processes = found;
				await box.writeRun({ kind: "running", bootId, processes: found });
			},
		});
		if (!processes) throw new RuntimeError("failed", "the devbox could not be started");
		this.#watch(box, processes, launched);
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

	/** Takes back what a run had of the host. What cannot be taken back now is left to the next start or `clean`. */
	async #finish(box: Box): Promise<Exit> {
		const { cgroups, log } = this.#parts;
		// Each by itself: on a full disk nothing can be noted, and the rest must go all the same.
		const attempt = (work: Promise<void>) =>
			work.catch((err: unknown) => {
				log.warn({ err, devbox: box.id }, "what a stopped devbox had of the host could not all be removed");
			});
		const note = async () => {
			box.lastExit = { outOfMemory: (await cgroups.oomKills(box.id)) > 0 };
			await box.writeRun({ kind: "ended", exit: box.lastExit });
		};
		// Before the group and its counter are gone.
		await attempt(note());
		await Promise.all([attempt(cgroups.remove(box.id)), attempt(this.network.removeLink(box.facts.host))]);
		return box.lastExit;
	}
}

/** rm and not fs.rm: a disk may have a million files, and the daemon's thread pool has four threads. */
async function removeTree(path: string): Promise<void> {
	await run("rm", ["-rf", "--one-file-system", "--", path]);
}
