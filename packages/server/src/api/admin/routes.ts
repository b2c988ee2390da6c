/** The admin API, under /v1/admin: users, teams, members and API keys. In the ways of the Runloop dialect. */
import type { App } from "../request.js";
import type { AdministrationService } from "../services.js";
import { memberRoutes } from "./member-routes.js";
import { teamRoutes } from "./team-routes.js";
import { userRoutes } from "./user-routes.js";

export function adminRoutes(app: App, administration: AdministrationService): void {
	userRoutes(app, administration);
	teamRoutes(app, administration);
	memberRoutes(app, administration);
}
