import { timingSafeEqual } from "node:crypto";
import type { AuditSink } from "../audit/index.js";
import { isApiKey } from "../config/index.js";
import { NotFoundError } from "../errors.js";
import type { Store } from "../store/index.js";
import { Administration } from "./administration.js";
import { bearerToken, generateApiKey, hashApiKey } from "./api-key.js";
import { type Bootstrap, bootstrap } from "./bootstrap.js";
import { newId } from "./ids.js";
import { KeyCache } from "./key-cache.js";
import { checkedLabel } from "./names.js";
import { type AccessRevoked, Revocations } from "./revocations.js";
import type { Principal, Role } from "./roles.js";
import { type SshKeyOwner, SshKeys } from "./ssh-keys.js";
import { Teams } from "./teams.js";
import { Users } from "./users.js";

/** What may be shown of a key. The key itself is not stored. */
export interface ApiKeyInfo {
	readonly id: string;
	readonly name: string;
	readonly userId: string;
	readonly createdAtMs: number;
	readonly revokedAtMs: number | null;
}

export interface AccountsOptions {
	readonly store: Pick<Store, "db" | "transaction">;
	readonly dataDir: string;
	/** Told of every change that a user makes. */
	readonly audit: AuditSink;
	/** Epoch milliseconds. */
	readonly now?: () => number;
}

/** Users, teams and their keys: who asks, and in which team. What they may do there: `can`, `demand`. */
export class Accounts {
	/** Nobody's rights are checked in these three; `administration` checks them. */
	readonly users: Users;
	readonly teams: Teams;
	readonly sshKeys: SshKeys;
	readonly administration: Administration;
	readonly #store: Pick<Store, "db" | "transaction">;
	readonly #dataDir: string;
	readonly #now: () => number;
	readonly #cache: KeyCache;
	readonly #revocations = new Revocations();
	#home: Bootstrap | undefined;

	constructor(options: AccountsOptions) {
		this.#store = options.store;
		this.#dataDir = options.dataDir;
		this.#now = options.now ?? Date.now;
		this.#cache = new KeyCache(this.#now);
		this.#revocations.on("accessRevoked", () => this.#cache.clear());
		const parts = { store: this.#store, revocations: this.#revocations, now: this.#now };
		this.users = new Users(parts);
		this.teams = new Teams(parts);
		this.sshKeys = new SshKeys({ ...parts, audit: options.audit });
		this.administration = new Administration(this, options.audit, () => this.#home);
	}

	/**
	 * Makes the first user, team and API key on an empty store; on a later start puts a configured key in the place of the
	 * former one. To be called once, at start, before anything is served. Throws `ConfigError` for a key that is no key.
	 */
	async bootstrap(options: { readonly adminApiKey?: string | undefined } = {}): Promise<Bootstrap> {
		const result = await bootstrap({
			store: this.#store,
			dataDir: this.#dataDir,
			adminApiKey: options.adminApiKey,
			now: this.#now(),
		});
		this.#cache.clear();
		this.#home = result;
		return result;
	}

	/**
	 * Whose key this is: `credential` is the `Authorization` header or the bare key. Undefined for a missing, malformed,
	 * unknown or revoked key, and for one whose user has left the team; which of them is nobody's business.
	 */
	async authenticate(credential: string | undefined): Promise<Principal | undefined> {
		const key = credential === undefined ? undefined : bearerToken(credential);
		if (key === undefined || !isApiKey(key)) return undefined;
		const hash = hashApiKey(key);
		const known = this.#cache.get(hash);
		if (known) return known;
		const { epoch } = this.#cache;
		const principal = await this.#find(hash);
		if (principal) this.#cache.set(hash, principal, epoch);
		return principal;
	}

	/** Whose SSH key this is; undefined for one that nobody has uploaded. See `SshKeys.find`. */
	findSshKey(algorithm: string, blob: Buffer): Promise<SshKeyOwner | undefined> {
		return this.sshKeys.find(algorithm, blob);
	}

	/** Undefined for somebody who is not in the team. Never out of date. */
	roleIn(userId: string, teamId: string): Promise<Role | undefined> {
		return this.teams.roleIn(userId, teamId);
	}

	/**
	 * Calls back when somebody left a team or has another role in it, was deleted, or an SSH key of theirs was: what they have
	 * open is to be checked again, or to go.
	 */
	onAccessRevoked(listener: (what: AccessRevoked) => void): void {
		this.#revocations.on("accessRevoked", listener);
	}

	/** Calls back when a team has switched its passthrough off. */
	onPassthroughDisabled(listener: (teamId: string) => void): void {
		this.#revocations.on("passthroughDisabled", listener);
	}

	/** The only time that the key is seen. Throws `InvalidError`, `NotFoundError` when the user is not in the team. */
	async createApiKey(params: {
		readonly teamId: string;
		readonly userId: string;
		readonly name: string;
	}): Promise<ApiKeyInfo & { readonly key: string }> {
		const { teamId, userId } = params;
		const name = checkedLabel(params.name);
		const key = generateApiKey();
		const id = newId("key");
		const createdAtMs = this.#now();
		await this.#store.transaction(async (trx) => {
			const member = await trx
				.selectFrom("memberships")
				.select("role")
				.where("team_id", "=", teamId)
				.where("user_id", "=", userId)
				.executeTakeFirst();
			if (!member) throw new NotFoundError("user");
			await trx
				.insertInto("api_keys")
				.values({
					id,
					key_hash: hashApiKey(key),
					name,
					user_id: userId,
					team_id: teamId,
					created_at_ms: createdAtMs,
					revoked_at_ms: null,
				})
				.execute();
		});
		return { id, name, userId, createdAtMs, revokedAtMs: null, key };
	}

	/** The key is refused from here on. Twice is fine. Throws `NotFoundError` when the team has no such key. */
	async revokeApiKey(teamId: string, id: string): Promise<void> {
		const mine = this.#store.db.updateTable("api_keys").where("team_id", "=", teamId).where("id", "=", id);
		const { numUpdatedRows } = await mine
			.set((eb) => ({ revoked_at_ms: eb.fn.coalesce("revoked_at_ms", eb.val(this.#now())) }))
			.executeTakeFirstOrThrow();
		this.#cache.clear();
		if (numUpdatedRows === 0n) throw new NotFoundError("API key");
	}

	/** All keys of a team, revoked ones too, oldest first. */
	async listApiKeys(teamId: string): Promise<ApiKeyInfo[]> {
		const rows = await this.#store.db
			.selectFrom("api_keys")
			.select(["id", "name", "user_id", "created_at_ms", "revoked_at_ms"])
			.where("team_id", "=", teamId)
			.orderBy("id")
			.execute();
		return rows.map((row) => ({
			id: row.id,
			name: row.name,
			userId: row.user_id,
			createdAtMs: row.created_at_ms,
			revokedAtMs: row.revoked_at_ms,
		}));
	}

	async #find(hash: string): Promise<Principal | undefined> {
		const row = await this.#store.db
			.selectFrom("api_keys")
			.innerJoin("memberships", (join) =>
				join
					.onRef("memberships.team_id", "=", "api_keys.team_id")
					.onRef("memberships.user_id", "=", "api_keys.user_id"),
			)
			.select(["api_keys.id", "api_keys.key_hash", "api_keys.user_id", "api_keys.team_id", "memberships.role"])
			.where("api_keys.key_hash", "=", hash)
			.where("api_keys.revoked_at_ms", "is", null)
			.executeTakeFirst();
		// The look-up went by an index and so by the hash's own bytes; this keeps it right whatever the collation.
		if (row === undefined || !timingSafeEqual(Buffer.from(row.key_hash), Buffer.from(hash))) return undefined;
		return Object.freeze({ apiKeyId: row.id, userId: row.user_id, teamId: row.team_id, role: row.role });
	}
}
