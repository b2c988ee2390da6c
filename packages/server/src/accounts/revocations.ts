import { EventEmitter } from "node:events";

/** Somebody may do less than before, or nothing any more. */
export interface AccessRevoked {
	readonly userId: string;
	/** In this team only; undefined: everywhere. */
	readonly teamId?: string;
	/** By this key only. */
	readonly sshKeyId?: string;
}

interface Events {
	accessRevoked: [what: AccessRevoked];
	/** Nobody may reach the team's devboxes through the passthrough any more. */
	passthroughDisabled: [teamId: string];
}

/** What the doors must hear of, after it has been stored. */
export class Revocations extends EventEmitter<Events> {}
