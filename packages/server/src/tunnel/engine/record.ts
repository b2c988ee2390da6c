import type { Decision, LocalResponse, RequestInfo } from "../decision.js";
import type { Core } from "./core.js";
import type { Exchange } from "./exchange.js";

/** Tells whoever made `decision` that its exchange is over, or never came to be. */
export function endDecision(core: Core, decision: Decision): void {
	if (decision.kind !== "proxy" || decision.ended === undefined) return;
	try {
		decision.ended();
	} catch (error) {
		core.unexpected(error);
	}
}

/** Tells the accounting hook of a request that is over. */
export function report(
	core: Core,
	exchange: Exchange | undefined,
	request: RequestInfo,
	status: number,
	began: number,
	outcome: "completed" | "aborted",
	local: LocalResponse | undefined,
): void {
	try {
		core.finished?.({
			devboxId: exchange?.decision.devboxId,
			requestId: exchange?.decision.requestId ?? local?.requestId,
			method: request.method,
			authority: request.authority,
			status,
			bytesFromClient: exchange?.bytesFromClient ?? 0,
			bytesToClient: exchange?.bytesToClient ?? 0,
			durationMs: performance.now() - began,
			upgraded: exchange?.upgraded ?? false,
			local: local !== undefined,
			outcome,
		});
	} catch (error) {
		core.unexpected(error);
	}
}
