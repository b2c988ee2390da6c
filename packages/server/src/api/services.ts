/**
 * What the API needs from the rest of the server. `devboxes/`, `accounts/` and `store/` implement these; tests use fakes.
 */
import type { Kysely } from "kysely";
import type { Principal } from "../accounts/index.js";
import type { Actor, CreateParams, Devbox, LogEntry, SshKey, Status, Tunnel, TunnelParams } from "../devboxes/index.js";
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
	count(actor: Actor, query: { status?: Status }): Promise<number>;
	/** An empty name or empty metadata clear; what is left out stays. */
	update(actor: Actor, id: string, change: { name?: string; metadata?: Record<string, string> }): Promise<Devbox>;
	suspend(actor: Actor, id: string): Promise<Devbox>;
	resume(actor: Actor, id: string): Promise<Devbox>;
	shutdown(actor: Actor, id: string, options: { force: boolean }): Promise<Devbox>;
	keepAlive(actor: Actor, id: string): Promise<void>;
	/** Resolves with a listed status as soon as the devbox has one, otherwise with the view at the time-out. */
	waitForStatus(actor: Actor, id: string, statuses: Status[], timeoutMs: number, signal: AbortSignal): Promise<Devbox>;
	sshKey(actor: Actor, id: string): Promise<SshKey>;
	enableTunnel(actor: Actor, id: string, params: TunnelParams): Promise<Tunnel>;
	removeTunnel(actor: Actor, id: string): Promise<void>;
	logs(actor: Actor, id: string): Promise<LogEntry[]>;
}

export interface CreateOptions {
	inTransaction?: (trx: Kysely<Schema>, devboxId: string) => Promise<void>;
}

interface ListQuery {
	limit: number;
	startingAfter?: string;
	status?: Status;
}

export interface Accounts {
	/** Who the value of an `Authorization` header stands for; undefined when it is missing or not valid. */
	authenticate(authorizationHeader: string | undefined): Promise<Principal | undefined>;
}

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
