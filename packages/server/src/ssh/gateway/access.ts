import type { Role, SshKeyOwner } from "../../accounts/index.js";
import type { GatewayDirectory } from "../../devboxes/index.js";

/** What the gateway needs to know of users. */
export interface GatewayAccess {
	/** Whose key this is; `blob` as it goes over the wire. */
	findSshKey(keyType: string, blob: Buffer): Promise<SshKeyOwner | undefined>;
	/** Undefined for somebody who is not in the team. Never out of date. */
	roleIn(userId: string, teamId: string): Promise<Role | undefined>;
}

/** Whom the gateway looks people and devboxes up with. */
export interface Registers {
	readonly access: GatewayAccess;
	readonly directory: Pick<GatewayDirectory, "lookupDevbox">;
}

/** Who is connected to what, by which key. */
export interface Grant {
	readonly userId: string;
	readonly sshKeyId: string;
	readonly devboxId: string;
	/** The devbox's. */
	readonly teamId: string;
	readonly key: PresentedKey;
}

export interface PresentedKey {
	readonly type: string;
	readonly blob: Buffer;
}

/** Why somebody is not let in. For the log: the client is never told which. */
export type Denial =
	| "malformed_username"
	| "unsupported_key"
	| "bad_signature"
	| "unknown_key"
	| "unknown_devbox"
	| "not_a_member"
	| "role_may_not_enter";
