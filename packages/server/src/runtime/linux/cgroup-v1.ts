import { join } from "node:path";
import {
	Cgroups,
	findMount,
	type Limits,
	missingController,
	readCount,
	writeLimit,
	writeOptionalLimit,
} from "./cgroup.js";
import type { Mount } from "./mounts.js";

const cpuPeriodMicroseconds = 100_000;

/** Version 1: each controller is a hierarchy of its own. */
export class CgroupsV1 extends Cgroups {
	readonly #memory: string;
	readonly #pids: string;
	readonly #cpu: string | undefined;

	/** Throws `RuntimeError` when a controller is missing that boxes cannot be bounded without. */
	constructor(mounts: readonly Mount[], name: string) {
		const memory = findMount(mounts, "cgroup", "memory");
		const pids = findMount(mounts, "cgroup", "pids");
		const cpu = findMount(mounts, "cgroup", "cpu");
		if (memory === undefined) throw missingController("memory");
		if (pids === undefined) throw missingController("pids");
		// systemd finds a service's processes in these two: boxes leave the daemon's, or its restart would end them.
		const tracking = [findMount(mounts, "cgroup", "name=systemd"), findMount(mounts, "cgroup2")];
		super(
			[memory, pids, cpu, ...tracking].filter((root) => root !== undefined),
			name,
		);
		this.#memory = join(memory, name);
		this.#pids = join(pids, name);
		this.#cpu = cpu && join(cpu, name);
	}

	override get limitsCpu(): boolean {
		return this.#cpu !== undefined;
	}

	protected override async prepare(): Promise<void> {}

	protected override async limit(id: string, limits: Limits): Promise<void> {
		const memory = join(this.#memory, id);
		await writeLimit(memory, "memory.limit_in_bytes", String(limits.memoryBytes));
		// Memory and swap together: without it a box swaps instead of reaching its limit.
		await writeOptionalLimit(memory, "memory.memsw.limit_in_bytes", String(limits.memoryBytes));
		await writeLimit(join(this.#pids, id), "pids.max", String(limits.maxProcesses));
		if (this.#cpu === undefined) return;
		const quota = Math.max(1000, Math.round(limits.cpus * cpuPeriodMicroseconds));
		await writeLimit(join(this.#cpu, id), "cpu.cfs_period_us", String(cpuPeriodMicroseconds));
		await writeLimit(join(this.#cpu, id), "cpu.cfs_quota_us", String(quota));
	}

	override async oomKills(id: string): Promise<number> {
		return await readCount(join(this.#memory, id, "memory.oom_control"), "oom_kill");
	}
}
