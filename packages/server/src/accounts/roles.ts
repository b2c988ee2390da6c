import type { Actor } from "../devboxes/devbox.js";
import { ForbiddenError } from "../errors.js";
import type { Schema } from "../store/index.js";

export type Role = Schema["memberships"]["role"];

/**
 * What somebody does in a team:
 * - `read`: see devboxes, their state and logs;
 * - `use`: create, change, suspend, resume and end them;
 * - `enter`: get inside, or receive what lets one inside: SSH keys, tunnel tokens, exec, files;
 * - `administer`: members and API keys.
 */
export type Action = "read" | "use" | "enter" | "administer";

/** An actor with its role in the team it acts in. */
export interface Principal extends Actor {
	readonly role: Role;
}

const allowed: Readonly<Record<Role, readonly Action[]>> = {
	admin: ["read", "use", "enter", "administer"],
	member: ["read", "use", "enter"],
	viewer: ["read"],
};

export const roles = Object.freeze(Object.keys(allowed) as Role[]);

/** A role that is not known may do nothing. */
export function can(principal: Pick<Principal, "role">, action: Action): boolean {
	return Object.hasOwn(allowed, principal.role) && allowed[principal.role].includes(action);
}

/** Throws `ForbiddenError` when the principal may not do it. */
export function demand(principal: Pick<Principal, "role">, action: Action): void {
	if (can(principal, action)) return;
	throw new ForbiddenError(`the role ${principal.role} does not allow this: it needs ${needed(action)}`);
}

function needed(action: Action): string {
	return roles.filter((role) => allowed[role].includes(action)).join(" or ");
}
