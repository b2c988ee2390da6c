import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Kysely } from "kysely";
import { isApiKey } from "../config/index.js";
import { SettingError } from "../errors.js";
import { readInstallation, type Schema, type Store, writeInstallation, writePrivateFile } from "../store/index.js";
import { generateApiKey, hashApiKey } from "./api-key.js";
import { newId } from "./ids.js";

/** Which key the installation's settings stand for, in the table `installation`. */
const BOOTSTRAP_KEY_ID = "bootstrap_api_key_id";

export interface Bootstrap {
	/** The store was empty. */
	readonly firstStart: boolean;
	/** Where the generated key lies; undefined when the key is configured, or the file was taken away. */
	readonly adminKeyFile: string | undefined;
	/** The one team that the first start made. */
	readonly teamId: string;
	readonly userId: string;
	readonly apiKeyId: string;
}

interface BootstrapOptions {
	readonly store: Pick<Store, "db" | "transaction">;
	readonly dataDir: string;
	readonly adminApiKey: string | undefined;
	/** Epoch milliseconds. */
	readonly now: number;
}

export async function bootstrap({ store, dataDir, adminApiKey, now }: BootstrapOptions): Promise<Bootstrap> {
	if (adminApiKey !== undefined && !isApiKey(adminApiKey)) throw notAKey();
	const keyFile = join(dataDir, "admin.key");
	const result = await store.transaction(async (trx) => {
		const apiKeyId = await readInstallation(trx, BOOTSTRAP_KEY_ID);
		if (apiKeyId === undefined) {
			// The file first: after a crash between the two the store is still empty, and the next start begins anew.
			const key = adminApiKey ?? generateApiKey();
			if (adminApiKey === undefined) writePrivateFile(keyFile, `${key}\n`);
			return { firstStart: true, ...(await makeAdmin(trx, key, now)) };
		}
		if (adminApiKey !== undefined) await replaceKey(trx, apiKeyId, adminApiKey);
		const { user_id, team_id } = await trx
			.selectFrom("api_keys")
			.select(["user_id", "team_id"])
			.where("id", "=", apiKeyId)
			.executeTakeFirstOrThrow();
		return { firstStart: false, apiKeyId, userId: user_id, teamId: team_id };
	});
	// A configured key has taken the place of the generated one: that file would be of no use.
	if (adminApiKey !== undefined) rmSync(keyFile, { force: true });
	return { ...result, adminKeyFile: existsSync(keyFile) ? keyFile : undefined };
}

async function makeAdmin(trx: Kysely<Schema>, key: string, created_at_ms: number) {
	const [userId, teamId, apiKeyId] = [newId("usr"), newId("team"), newId("key")];
	await trx.insertInto("users").values({ id: userId, name: "admin", created_at_ms }).execute();
	await trx.insertInto("teams").values({ id: teamId, name: "default", created_at_ms }).execute();
	const membership = { team_id: teamId, user_id: userId, role: "admin", created_at_ms } as const;
	await trx.insertInto("memberships").values(membership).execute();
	await trx
		.insertInto("api_keys")
		.values({
			id: apiKeyId,
			key_hash: hashApiKey(key),
			name: "bootstrap",
			user_id: userId,
			team_id: teamId,
			created_at_ms,
			revoked_at_ms: null,
		})
		.execute();
	await writeInstallation(trx, BOOTSTRAP_KEY_ID, apiKeyId);
	return { userId, teamId, apiKeyId };
}

/** Fails closed: a key that was revoked does not come back because a setting still holds it. */
async function replaceKey(trx: Kysely<Schema>, apiKeyId: string, key: string): Promise<void> {
	const key_hash = hashApiKey(key);
	const same = await trx
		.selectFrom("api_keys")
		.select(["id", "revoked_at_ms"])
		.where("key_hash", "=", key_hash)
		.executeTakeFirst();
	if (same?.id === apiKeyId && same.revoked_at_ms === null) return;
	if (same !== undefined) {
		const why = same.id === apiKeyId ? "this key was revoked" : "this is the key of another user";
		throw new SettingError("admin_api_key", `the value (not shown) is refused, ${why}; allowed: a new key`);
	}
	await trx.updateTable("api_keys").set({ key_hash, revoked_at_ms: null }).where("id", "=", apiKeyId).execute();
}

function notAKey(): SettingError {
	return new SettingError(
		"admin_api_key",
		"the value (not shown) is not an API key; allowed: 20 to 256 letters, digits or ._~+/-=",
	);
}
