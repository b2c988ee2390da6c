import type { Logger } from "pino";
import type { Runtime } from "../runtime/runtime.js";
import type { DevboxRow } from "../store/devboxes.js";
import { isEnded, type Status } from "./lifecycle.js";
import type { DevboxRepository } from "./repository.js";
import type { Supervisor } from "./supervisor.js";

const alive: readonly Status[] = ["provisioning", "initializing", "running", "suspending", "suspended", "resuming"];

/**
 * At the daemon's start: brings store and runtime back together after a stop, a crash or a reboot of the host, so that
 * nothing half-made stays. Resolves when every running box is followed again; starts and stops go on behind it.
 */
export async function reconcile(options: {
	readonly runtime: Runtime;
	readonly repository: DevboxRepository;
	readonly supervisor: Supervisor;
	readonly log: Logger;
}): Promise<void> {
	const { runtime, repository, supervisor } = options;
	const rows = await repository.rowsByStatus(alive);
	await Promise.all(rows.filter((row) => row.runtime === runtime.name).map((row) => recoverOne(supervisor, row)));
	for (const id of await runtime.list()) await cleanUp(options, id);
}

/** Each step that was under way is done again: they all bear it. */
async function recoverOne(supervisor: Supervisor, row: DevboxRow): Promise<void> {
	switch (row.status as Status) {
		case "running":
		case "initializing":
		case "resuming":
			return supervisor.recover(row.id);
		case "provisioning":
			void supervisor.start(row.id);
			return;
		case "suspending":
			void supervisor.suspend(row.id);
			return;
		default:
			return;
	}
}

async function cleanUp({ runtime, repository, supervisor, log }: Parameters<typeof reconcile>[0], id: string) {
	const row = await repository.findRow(id);
	if (!row) {
		// Perhaps the store was restored from a backup that does not know this box yet: its disk is not ours to throw away.
		log.warn({ devboxId: id }, "a devbox is on this host but not in the store: it is stopped, its disk is kept");
		await runtime.stop(id, { graceMs: 0 });
	} else if (row.status === "shutdown" || (row.status === "failure" && row.initialized === 0)) {
		void supervisor.destroy(id);
	} else if (row.status === "suspended" || isEnded(row.status as Status)) {
		await runtime.stop(id, { graceMs: 0 });
	}
}
