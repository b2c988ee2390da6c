import { chmod, mkdir, realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RuntimeError } from "../../errors.js";
import type { Attachment, Boot, BootFile, BoxSpec, BoxState, Runtime, Started } from "../runtime.js";
import { replaceBootFile } from "./boot-file.js";
import { followConsole } from "./console.js";
import { snapshotEtc } from "./etc.js";
import { checkHost, checkOverlays, findCgroups } from "./host.js";
import { Installation, type Log } from "./installation.js";
import { Locks } from "./locks.js";
import { readMounts } from "./mounts.js";
import { Network } from "./network.js";
import { bootId } from "./process.js";
import { checkId, checkSpec } from "./spec.js";

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

/**
 * Runs boxes on this host's own files, for trusted code. What keeps them apart: disk.ts (files), launcher-script.ts
 * (namespaces, capabilities), firewall.ts (network) and cgroup.ts (limits).
 */
export class LinuxRuntime implements Runtime {
	readonly name = "linux";
	readonly #consoleKeepBytes: number;
	readonly #log: Log;
	readonly #locks = new Locks();
	readonly #attachments = new Set<Attachment>();
	#dataDir: string;
	#edgePorts: readonly number[];
	#opened: Installation | undefined;

	constructor(options: LinuxRuntimeOptions) {
		this.#dataDir = resolve(options.dataDir);
		this.#edgePorts = [...(options.edgePorts ?? [])];
		this.#consoleKeepBytes = options.consoleKeepBytes ?? 16 * 1024 * 1024;
		this.#log = options.log ?? { warn: () => {} };
	}

	async open(): Promise<void> {
		await guard("the runtime could not be opened", async () => {
			await checkHost();
			const directories = await this.#makeDirectories();
			const network = await Network.load(directories.shared);
			const cgroups = findCgroups(await readMounts(), `gangway-${network.tag}`);
			if (!cgroups.limitsCpu) this.#log.warn({}, "this host has no cgroup controller for the CPU: devboxes share it");
			const etc = await snapshotEtc(directories.shared);
			await checkOverlays(directories.shared, join(directories.shared, etc));
			const parts = { network, cgroups, directories, etc, bootId: await bootId(), log: this.#log };
			// Before anything is done to the host, so that `close` undoes what a failed `open` did.
			this.#opened = new Installation(parts);
			await cgroups.open();
			await this.#opened.adopt();
			if ((await network.avoidConflicts(this.#opened.running.length > 0)) === "conflict")
				this.#log.warn(
					{},
					"another network of this host overlaps with the devboxes'; stop all devboxes to have it moved",
				);
			await network.open(this.#edgePorts);
			await this.#opened.clean();
		});
	}

	async close(): Promise<void> {
		await this.#locks.idle();
		for (const attachment of this.#attachments) attachment.detach();
		this.#attachments.clear();
		const installation = this.#opened;
		this.#opened = undefined;
		await guard("the runtime could not be closed", async () => await installation?.close());
	}

	/** The edge's ports when they are known only after `open`, as with port 0. */
	async setEdgePorts(ports: readonly number[]): Promise<void> {
		this.#edgePorts = [...ports];
		const network = this.#opened?.network;
		await guard("the firewall could not be changed", async () => await network?.applyFirewall(this.#edgePorts));
	}

	async create(spec: BoxSpec): Promise<void> {
		checkId(spec.id);
		await this.#exclusive(spec.id, "the devbox could not be created", async (installation) => {
			if (!installation.boxes.has(spec.id)) await installation.create(spec.id);
		});
	}

	async start(spec: BoxSpec, boot: Boot): Promise<Started> {
		checkSpec(spec, boot);
		return await this.#exclusive(spec.id, "the devbox could not be started", async (installation) => {
			const box = installation.boxes.get(spec.id);
			if (!box) throw new RuntimeError("not_created", "the devbox has no disk");
			if (await box.run?.isAlive()) throw new RuntimeError("already_running", "the devbox runs already");
			await box.run?.ended;
			await installation.start(box, spec, boot);
			return { address: installation.addressOf(box) };
		});
	}

	async replaceBootFile(id: string, file: BootFile): Promise<void> {
		await this.#exclusive(id, "a file of the devbox could not be replaced", async (installation) => {
			const run = installation.boxes.get(id)?.run;
			if (run && (await run.isAlive())) await replaceBootFile(run.processes.init, file);
		});
	}

	async stop(id: string, options: { readonly graceMs: number }): Promise<void> {
		await this.#exclusive(id, "the devbox could not be stopped", async (installation) => {
			const box = installation.boxes.get(id);
			if (box) await installation.stop(box, options.graceMs);
		});
	}

	async destroy(id: string): Promise<void> {
		await this.#exclusive(id, "the devbox could not be removed", async (installation) => {
			const box = installation.boxes.get(id);
			if (!box) return;
			await installation.stop(box, 0);
			await installation.remove(box);
		});
	}

	async inspect(id: string): Promise<BoxState> {
		const installation = this.#installation;
		const box = installation.boxes.get(id);
		if (!box) return { kind: "absent" };
		if (!(await box.run?.isAlive())) return { kind: "stopped" };
		return { kind: "running", address: installation.addressOf(box) };
	}

	async list(): Promise<string[]> {
		return [...this.#installation.boxes.keys()].sort();
	}

	attach(id: string, fromOffset: number, onOutput: (chunk: Buffer, endOffset: number) => unknown): Attachment {
		const box = this.#installation.boxes.get(id);
		if (!box) return { exited: Promise.resolve({ outOfMemory: false }), detach: () => {} };
		const follower = followConsole({
			path: box.console,
			fromOffset,
			onOutput,
			ended: box.run?.ended ?? Promise.resolve(box.lastExit),
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

	get #installation(): Installation {
		if (!this.#opened) throw new RuntimeError("failed", "the runtime is not open");
		return this.#opened;
	}

	/** After what was asked about the same box before. */
	#exclusive<T>(id: string, message: string, task: (installation: Installation) => Promise<T>): Promise<T> {
		return this.#locks.run(id, () => guard(message, () => task(this.#installation)));
	}

	async #makeDirectories(): Promise<{ boxes: string; shared: string }> {
		await mkdir(this.#dataDir, { recursive: true });
		// Without links, so that a path on a box's disk that differs from its real one is the box's doing.
		this.#dataDir = await realpath(this.#dataDir);
		const directories = { boxes: join(this.#dataDir, "devboxes"), shared: join(this.#dataDir, "linux") };
		for (const path of Object.values(directories)) {
			await mkdir(path, { recursive: true });
			// A box can put setuid programs on its disk; the host's users must not get at them.
			await chmod(path, 0o700);
		}
		return directories;
	}
}

/** Keeps the errors of files and tools inside: callers get a `RuntimeError` with the reason as its cause. */
async function guard<T>(message: string, task: () => Promise<T>): Promise<T> {
	try {
		return await task();
	} catch (cause) {
		if (cause instanceof RuntimeError) throw cause;
		throw new RuntimeError("failed", message, { cause });
	}
}
