/** The Sandbox0 dialect: the same devboxes as sandboxes, and users' own SSH keys. */
import type { App } from "../request.js";
import type { DevboxService, SshKeyService } from "../services.js";
import { sandboxRoutes } from "./sandbox-routes.js";
import { sshKeyRoutes } from "./ssh-key-routes.js";
import type { SshGateway } from "./views.js";

export interface Sandbox0Options {
	readonly devboxes: DevboxService;
	readonly sshKeys: SshKeyService;
	/** Asked at each request: the port is known once it is open. */
	readonly sshGateway: () => SshGateway;
	/** Milliseconds that claim, pause and resume hold their answers. */
	readonly holdMs: number;
	/** Aborts when the server closes: nothing is held any longer then. */
	readonly closing: AbortSignal;
}

/** By the path that they are below. */
export const sandbox0Routes: Readonly<Record<string, (app: App, options: Sandbox0Options) => void>> = {
	"/api/v1": sandboxRoutes,
	"/users/me": sshKeyRoutes,
};
