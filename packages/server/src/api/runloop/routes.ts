/** The devbox calls of the Runloop dialect, under /v1. */
import type { Idempotency } from "../idempotency.js";
import type { App } from "../request.js";
import type { DevboxService, TunnelUrl } from "../services.js";
import { answerOnce } from "./answers.js";
import { createRoutes } from "./create-routes.js";
import { lifecycleRoutes } from "./lifecycle-routes.js";
import { networkRoutes } from "./network-routes.js";
import { readRoutes } from "./read-routes.js";
import { shareLinkRoutes } from "./share-link-routes.js";

export interface RunloopOptions {
	readonly devboxes: DevboxService;
	readonly idempotency: Idempotency;
	/** The host's, in the dialect's spelling. */
	readonly architecture: string;
	readonly tunnelUrl: TunnelUrl;
	/** Milliseconds that create_and_await_running holds its answer. */
	readonly createHoldMs: number;
	/** Milliseconds that wait_for_status holds its answer, at most. */
	readonly waitHoldMs: number;
	/** Aborts when the server closes: nothing is held any longer then. */
	readonly closing: AbortSignal;
}

export function runloopRoutes(app: App, options: RunloopOptions): void {
	const once = answerOnce(options.idempotency);
	createRoutes(app, options, once);
	readRoutes(app, options);
	lifecycleRoutes(app, options, once);
	networkRoutes(app, options, once);
	shareLinkRoutes(app, options, once);
}
