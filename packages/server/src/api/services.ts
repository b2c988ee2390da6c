/**
 * What the API needs from the rest of the server. `devboxes/`, `accounts/` and `store/` implement these; tests use fakes.
 */
import type { Kysely } from "kysely";
import type { Administration, Principal, SshKeys } from "../accounts/index.js";
import type { Audit } from "../audit/index.js";
import type {
	Actor,
	CreateParams,
	Devbox,
	LogEntry,
	NewShareLink,
	ShareLink,
	ShareLinkParams,
	SshKey,
	Status,
	Tunnel,
	TunnelParams,
} from "../devboxes/index.js";
import type { Answer, Claim, IdempotencyKey, Schema } from "../store/index.js";

export interface DevboxService {
	/**
	 * Makes the devbox and starts it; returns it as `provisioning`. `inTransaction` runs in the transaction that makes the
	 * row. Throws `InvalidError` where the parameters make no sense.
	 */
	create(actor: Actor, params: CreateParams, options?: CreateOptions): Promise<Devbox>;
	get(actor: Actor, id: string): Promise<Devbox>;
	/** Newest first, after `startingAfter` when it is given. */
	list(actor: Actor, query: ListQuery): Promise<{ devboxes: Devbox[]; hasMore: boolean }>;
	count(actor: Actor, query: { statuses?: readonly Status[] }): Promise<number>;
	/** An empty name or empty metadata clear; what is left out stays. */
	update(actor: Actor, id: string, change: { name?: string; metadata?: Record<string, string> }): Promise<Devbox>;
	suspend(actor: Actor, id: string): Promise<Devbox>;
	resume(actor: Actor, id: string): Promise<Devbox>;
	shutdown(actor: Actor, id: string, options: { force: boolean }): Promise<Devbox>;
	keepAlive(actor: Actor, id: string): Promise<void>;
	/** Resolves with a listed status as soon as the devbox has one, otherwise with the view at the time-out. */
	waitForStatus(actor: Actor, id: string, statuses: Status[], timeoutMs: number, signal: AbortSignal): Promise<Devbox>;
	/** Throws `ConflictError` unless it runs or is about to. */
	refresh(actor: Actor, id: string, seconds?: number): Promise<Devbox>;
	sshKey(actor: Actor, id: string): Promise<SshKey>;
	rotateSshKey(actor: Actor, id: string): Promise<SshKey>;
	enableTunnel(actor: Actor, id: string, params: TunnelParams): Promise<Tunnel>;
	removeTunnel(actor: Actor, id: string): Promise<void>;
	createShareLink(actor: Actor, id: string, params: ShareLinkParams): Promise<NewShareLink>;
	shareLinks(actor: Actor, id: string): Promise<readonly ShareLink[]>;
	deleteShareLink(actor: Actor, id: string, shareLinkId: string): Promise<void>;
	logs(actor: Actor, id: string): Promise<LogEntry[]>;
}

export interface CreateOptions {
	inTransaction?: (trx: Kysely<Schema>, devboxId: string) => Promise<void>;
}

interface ListQuery {
	limit: number;
	startingAfter?: string;
	offset?: number;
	statuses?: readonly Status[];
}

/** The URL of a tunnel's port as the world reaches it, without a path. */
export type TunnelUrl = (tunnelKey: string, port: number | "{port}") => string;

export interface Accounts {
	/** Who the value of an `Authorization` header stands for; undefined when it is missing or not valid. */
	authenticate(authorizationHeader: string | undefined): Promise<Principal | undefined>;
	readonly sshKeys: SshKeyService;
	readonly administration: AdministrationService;
}

/** Users' own SSH keys. */
export type SshKeyService = Pick<SshKeys, "create" | "list" | "delete">;

/** Who did what. */
export type AuditService = Pick<Audit, "list" | "record">;

/** Checks who may do what. */
export type AdministrationService = { readonly [K in keyof Administration]: Administration[K] };

/**
 * Where answers to POSTs are kept for 24 hours; older entries are as if they had never been. Bodies may hold secrets:
 * they are sealed at rest.
 */
export interface IdempotencyStore {
	/** Makes an unfinished entry when there is none (`new`), else tells what is there. */
	claim(key: IdempotencyKey, route: string): Promise<Claim>;
	/** Notes the devbox that the call makes, in the transaction that makes it. */
	attach(trx: Kysely<Schema>, key: IdempotencyKey, devboxId: string): Promise<void>;
	finish(key: IdempotencyKey, answer: Answer): Promise<void>;
	/** Forgets an unfinished entry, unless a devbox is attached: that one must be found again, never made twice. */
	release(key: IdempotencyKey): Promise<void>;
}

export type { Answer, Claim, IdempotencyKey };
