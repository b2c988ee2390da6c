import type { TunnelTarget } from "../devboxes/index.js";
import type { UpstreamFailure } from "./decision.js";
import * as notices from "./notices.js";

/** How long after a start a port that does not accept is taken for "not yet". */
const startGraceMs = 30_000;

/** The box has started so lately that its servers may not be there yet. */
export function isFresh({ runningSinceMs }: TunnelTarget, nowMs: number): boolean {
	return runningSinceMs !== null && nowMs - runningSinceMs < startGraceMs;
}

/** What to say when a box that runs did not answer. */
export function failureNotice(
	failure: UpstreamFailure,
	port: number,
	target: TunnelTarget,
	nowMs: number,
): notices.Notice {
	const fresh = isFresh(target, nowMs);
	switch (failure) {
		case "refused":
			if (fresh) return notices.portStarting(port);
			return target.loopbackPorts.includes(port) ? notices.nothingListensAtAll(port) : notices.nothingListens(port);
		case "unreachable":
			return fresh ? notices.portStarting(port) : notices.unreachable;
		case "connect_timeout":
			return fresh ? notices.portStarting(port) : notices.connectTimeout(port);
		case "response_timeout":
			return notices.responseTimeout(port);
		case "bad_response":
			return notices.badResponse(port);
		case "closed":
			return notices.closed(port);
		case "busy":
			return notices.busy;
	}
}
