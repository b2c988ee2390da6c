/** What is recorded. The names are stable: programs match on them, also on what stands before a dot. */
export const auditActions = [
	"ssh.connected",
	"ssh.session",
	"ssh.forward",
	"ssh.sftp",
	"ssh.denied",
	"passthrough.session",
	"ssh_key.created",
	"ssh_key.deleted",
	"devbox_key.fetched",
	"devbox_key.rotated",
	"tunnel.enabled",
	"tunnel.changed",
	"tunnel.removed",
	"share_link.created",
	"share_link.deleted",
	"member.added",
	"member.changed",
	"member.removed",
	"api_key.created",
	"api_key.revoked",
	"user.created",
	"user.changed",
	"user.deleted",
	"team.created",
	"team.changed",
	"team.deleted",
	"api.denied",
] as const;

export type AuditAction = (typeof auditActions)[number];

export const auditOutcomes = ["ok", "denied", "failed"] as const;

export type AuditOutcome = (typeof auditOutcomes)[number];

/** Who did it, by what credential and from where, as far as that is known. An `Actor` of the API is one. */
export interface AuditActor {
	readonly userId?: string | undefined;
	readonly apiKeyId?: string | undefined;
	readonly sshKeyId?: string | undefined;
	/** The team that the credential acts in. */
	readonly teamId?: string | undefined;
	/** IP address, without port. */
	readonly peerAddress?: string | undefined;
}

/**
 * Names, numbers and sizes, never a secret: no token, key, query string or content of a file. Long texts and lists are
 * cut when they are stored.
 */
export type AuditDetails = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface AuditEvent {
	readonly action: AuditAction;
	/** Default: `ok`. */
	readonly outcome?: AuditOutcome | undefined;
	readonly actor?: AuditActor | undefined;
	/** Whose event it is. Default: the actor's team, else the devbox's; an event may be nobody's. */
	readonly teamId?: string | undefined;
	readonly devboxId?: string | undefined;
	/** Milliseconds, of what has lasted: it is recorded when it ends. */
	readonly durationMs?: number | undefined;
	readonly details?: AuditDetails | undefined;
}

/** Takes events. What the rest of the server knows of the audit. */
export interface AuditSink {
	/** Stored in a moment. Never throws and never waits: for hot paths. */
	record(event: AuditEvent): void;
	/**
	 * Stored when it resolves: for what must not happen unrecorded. Rejects with `UnavailableError` when the store refuses;
	 * the event is in the log then. Not for use in a transaction of the store, which it would wait for.
	 */
	write(event: AuditEvent): Promise<void>;
}
