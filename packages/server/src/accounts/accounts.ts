import { timingSafeEqual } from "node:crypto";
import { ulid } from "ulid";
import { isApiKey } from "../config/index.js";
import { NotFoundError } from "../errors.js";
import type { Store } from "../store/index.js";
import { bearerToken, generateApiKey, hashApiKey } from "./api-key.js";
import { type Bootstrap, bootstrap } from "./bootstrap.js";
import { KeyCache } from "./key-cache.js";
import type { Principal } from "./roles.js";

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
	/** Epoch milliseconds. */
	readonly now?: () => number;
}

/** Users, teams and their API keys: who asks, and in which team. What they may do there: `can`, `demand`. */
export class Accounts {
	readonly #store: Pick<Store, "db" | "transaction">;
	readonly #dataDir: string;
	readonly #now: () => number;
	readonly #cache: KeyCache;

	constructor(options: AccountsOptions) {
		this.#store = options.store;
		this.#dataDir = options.dataDir;
		this.#now = options.now ?? Date.now;
		this.#cache = new KeyCache(this.#now);
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

	/** The only time that the key is seen. Throws `NotFoundError` when the user is not in the team. */
	async createApiKey(params: {
		readonly teamId: string;
		readonly userId: string;
		readonly name: string;
	}): Promise<ApiKeyInfo & { readonly key: string }> {
		const { teamId, userId, name } = params;
		const key = generateApiKey();
		const id = `key_${ulid().toLowerCase()}`;
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
