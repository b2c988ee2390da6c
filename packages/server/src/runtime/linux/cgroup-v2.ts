import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RuntimeError } from "../../errors.js";
import { Cgroups, type Limits, missingController, readCount, writeLimit, writeOptionalLimit } from "./cgroup.js";

const cpuPeriodMicroseconds = 100_000;
const controllers = ["memory", "cpu", "pids"] as const;

/** Version 2: one hierarchy; a controller works in a group when its parent has it in `cgroup.subtree_control`. */
export class CgroupsV2 extends Cgroups {
	override readonly limitsCpu = true;
	readonly #base: string;

	/** @param root where cgroup2 is mounted */
	constructor(root: string, name: string) {
		super([root], name);
		this.#base = join(root, name);
	}

	protected override async prepare(): Promise<void> {
		const root = dirname(this.#base);
		const there = (await readFile(join(root, "cgroup.controllers"), "utf8")).trim().split(" ");
		for (const name of controllers) if (!there.includes(name)) throw missingController(name);
		const enable = controllers.map((name) => `+${name}`).join(" ");
		try {
			for (const group of [root, this.#base]) await writeLimit(group, "cgroup.subtree_control", enable);
		} catch (cause) {
			// EBUSY: in a container the root group holds processes itself, which then cannot have limited children.
			throw new RuntimeError("unsupported_host", "this host does not let Gangway limit devboxes (cgroup v2)", {
				cause,
			});
		}
	}

	protected override async limit(id: string, limits: Limits): Promise<void> {
		const group = join(this.#base, id);
		await writeLimit(group, "memory.max", String(limits.memoryBytes));
		await writeOptionalLimit(group, "memory.swap.max", "0");
		const quota = Math.max(1000, Math.round(limits.cpus * cpuPeriodMicroseconds));
		await writeLimit(group, "cpu.max", `${quota} ${cpuPeriodMicroseconds}`);
		await writeLimit(group, "pids.max", String(limits.maxProcesses));
	}

	override async oomKills(id: string): Promise<number> {
		return await readCount(join(this.#base, id, "memory.events"), "oom_kill");
	}
}
