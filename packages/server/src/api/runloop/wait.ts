import { type Actor, canFollow, type Devbox, type Status, statuses } from "../../devboxes/index.js";
import { ConflictError, GangwayError } from "../../errors.js";
import type { DevboxService } from "../services.js";

/** Waits until the devbox has one of `wanted`, or the time is over, or `signal` aborts; then the devbox as it is. */
export async function holdUntil(
	devboxes: DevboxService,
	actor: Actor,
	id: string,
	wanted: Status[],
	timeoutMs: number,
	signal: AbortSignal,
): Promise<Devbox> {
	try {
		return await devboxes.waitForStatus(actor, id, wanted, timeoutMs, signal);
	} catch (error) {
		if (signal.aborted) return devboxes.get(actor, id);
		throw error;
	}
}

/**
 * The devbox with a status of `wanted`, never with another: clients take any 200 as the end of the wait.
 *
 * Throws 408 when the time is over, which clients answer by asking again, for ever; so a devbox that can no longer get
 * there is a 409, at once, which the official client throws at its caller.
 */
export async function waitForStatus(
	devboxes: DevboxService,
	actor: Actor,
	id: string,
	wanted: readonly string[],
	timeoutMs: number,
	signal: AbortSignal,
): Promise<Devbox> {
	const reachable = statuses.filter((status) => canReach(status, wanted));
	const ends = statuses.filter((status) => wanted.includes(status) || !reachable.includes(status));
	const devbox = await holdUntil(devboxes, actor, id, ends, timeoutMs, signal);
	if (wanted.includes(devbox.status)) return devbox;
	const goal = wanted.join(" or ");
	if (!reachable.includes(devbox.status)) {
		throw new ConflictError(`devbox ${id} is ${devbox.status} and can no longer become ${goal}`);
	}
	throw new GangwayError("timeout", 408, `devbox ${id} is ${devbox.status}, not yet ${goal}; ask again`);
}

function canReach(from: Status, wanted: readonly string[]): boolean {
	const seen = new Set<Status>([from]);
	for (const here of seen) {
		if (wanted.includes(here)) return true;
		for (const status of statuses) if (canFollow(here, status)) seen.add(status);
	}
	return false;
}
