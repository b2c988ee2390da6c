import type { Generated } from "kysely";

/**
 * The tables. Types are the ones that SQLite and PostgreSQL share: text, 64-bit integers (milliseconds since the epoch
 * fit a JS number; the PostgreSQL driver is told to parse int8 so), JSON as text. Booleans are 0 and 1.
 * A column that ends in `_sealed` holds a secret as `Seal` writes it, bound to its table, column and row.
 */
export interface Schema {
	installation: InstallationTable;
	users: UsersTable;
	teams: TeamsTable;
	memberships: MembershipsTable;
	api_keys: ApiKeysTable;
	ssh_keys: SshKeysTable;
	ssh_key_fetches: SshKeyFetchesTable;
	devboxes: DevboxesTable;
	state_transitions: StateTransitionsTable;
	tunnels: TunnelsTable;
	share_links: ShareLinksTable;
	idempotency_keys: IdempotencyKeysTable;
	audit_events: AuditEventsTable;
}

/** One value a key: the installation's id, the check value of the master key, the sealed CA keys. */
interface InstallationTable {
	key: string;
	value: string;
}

interface UsersTable {
	id: string;
	name: string;
	created_at_ms: number;
}

interface TeamsTable {
	id: string;
	name: string;
	created_at_ms: number;
	/** 0: nobody reaches its devboxes through the passthrough. */
	passthrough_enabled: Generated<number>;
}

interface MembershipsTable {
	team_id: string;
	user_id: string;
	role: "admin" | "member" | "viewer";
	created_at_ms: number;
}

interface ApiKeysTable {
	id: string;
	/** SHA-256 of the key (keys carry 256 random bits, so a fast hash is enough), hex. */
	key_hash: string;
	name: string;
	user_id: string;
	team_id: string;
	created_at_ms: number;
	revoked_at_ms: number | null;
}

/** Public keys by which the gateway knows users. */
interface SshKeysTable {
	id: string;
	user_id: string;
	name: string;
	/** `<type> <base64>`, without the comment. */
	public_key: string;
	key_type: string;
	/** `SHA256:…`, as ssh-keygen prints it. */
	fingerprint_sha256: string;
	comment: string;
	created_at_ms: number;
	updated_at_ms: number;
}

/** Who has had the present private key of a devbox. */
interface SshKeyFetchesTable {
	devbox_id: string;
	user_id: string;
	/** The last time. */
	at_ms: number;
}

interface DevboxesTable {
	id: string;
	team_id: string;
	created_by: string;
	name: string | null;
	/** See `devboxes/lifecycle.ts`. Changed only by compare-and-set. */
	status: string;
	runtime: string;
	/** JSON of `LaunchParameters`. */
	launch_parameters: string;
	/** JSON object of strings. */
	metadata: string;
	/** JSON of `BootSecrets`: entrypoint, environment variables, file mounts. */
	boot_sealed: string;
	ssh_user: string;
	ssh_public_key: string;
	ssh_private_key_sealed: string;
	host_public_key: string;
	host_private_key_sealed: string;
	failure_reason: string | null;
	shutdown_reason: string | null;
	created_at_ms: number;
	ended_at_ms: number | null;
	/** When the box last became running; the clock of `keep_alive_time_seconds` counts from here ... */
	running_since_ms: number | null;
	/** ... and this is what it had counted before. */
	ran_before_ms: number;
	/** Grows at each start. */
	generation: number;
	/** 1 once `launch_commands` have succeeded for the first time: file mounts are written before that only. */
	initialized: number;
	/** When it is suspended if it runs then; null: never. */
	expires_at_ms: number | null;
	/** When it is shut down, whatever it does; null: never, or it is. */
	hard_expires_at_ms: number | null;
}

interface StateTransitionsTable {
	devbox_id: string;
	seq: number;
	status: string;
	at_ms: number;
	failure_reason: string | null;
}

interface TunnelsTable {
	devbox_id: string;
	/** 26 lowercase base32 characters, unique over all devboxes. */
	key: string;
	auth_mode: "open" | "authenticated";
	token_sealed: string | null;
	http_keep_alive: number;
	wake_on_http: number;
	created_at_ms: number;
	wake_mode: "retry" | "hold";
	/** JSON array of strings. */
	cors_origins: string;
	/** JSON array of numbers. */
	loopback_ports: string;
	/** JSON object of `PortRule` by port number. */
	port_rules: string;
	/** Grows whenever the token changes. */
	generation: number;
}

/** Links of the tunnels as they are: a tunnel that changes or goes takes its links with it. */
interface ShareLinksTable {
	id: string;
	devbox_id: string;
	port: number;
	path: string;
	/** A user's id. */
	created_by: string;
	created_at_ms: number;
	expires_at_ms: number;
}

interface IdempotencyKeysTable {
	api_key_id: string;
	/** The client's `x-request-id`. */
	key: string;
	/** Method and path of the first call; another one with the same key is refused. */
	route: string;
	/** The devbox that the call made, written in the transaction that makes it. */
	devbox_id: string | null;
	/** Set when the call has been answered. */
	response_status: number | null;
	response_body_sealed: string | null;
	created_at_ms: number;
}

/** No foreign keys: what happened stays true when users, teams and devboxes are gone. */
interface AuditEventsTable {
	/** A ULID: ids sort by time. */
	id: string;
	at_ms: number;
	/** See `audit/event.ts`. */
	action: string;
	outcome: string;
	team_id: string | null;
	user_id: string | null;
	api_key_id: string | null;
	ssh_key_id: string | null;
	devbox_id: string | null;
	peer_address: string | null;
	duration_ms: number | null;
	/** JSON object. */
	details: string;
}
