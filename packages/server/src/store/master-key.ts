import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Kysely } from "kysely";
import { parseMasterKeys } from "../config/index.js";
import { ConfigError, StoreError } from "../errors.js";
import { readPrivateFile, writePrivateFile } from "./files.js";
import type { Schema } from "./schema.js";
import { Seal, type SealedPlace } from "./seal.js";

const CHECK = "master_key_check:";

export interface MasterKeyOptions {
	readonly dataDir: string;
	/** Base64 or hex of 32 bytes; several, separated by commas, while keys are rotated. */
	readonly masterKey?: string | undefined;
	readonly db: Kysely<Schema>;
}

/**
 * The master keys, current one first: the configured ones, else `<data dir>/master.key`, which the first start makes.
 * The store remembers (as check values) which keys it was ever sealed with; every one of them must be here, or secrets
 * would turn out unreadable later. Throws `StoreError` `wrong_master_key` then.
 */
export async function loadMasterKey({ dataDir, masterKey, db }: MasterKeyOptions): Promise<readonly Buffer[]> {
	const checks = await db.selectFrom("installation").selectAll().where("key", "like", `${CHECK}%`).execute();
	const file = join(dataDir, "master.key");
	const keys =
		masterKey !== undefined ? parse(masterKey, "master_key") : readOrMake(file, { mayMake: checks.length === 0 });
	const seal = new Seal(keys);
	for (const { key, value } of checks) seal.open(value, checkPlace(key.slice(CHECK.length)));

	const place = checkPlace(seal.keyId);
	await db
		.insertInto("installation")
		.values({ key: place.row, value: seal.seal("gangway", place) })
		.onConflict((conflict) => conflict.column("key").doNothing())
		.execute();
	return keys;
}

function readOrMake(file: string, { mayMake }: { mayMake: boolean }): readonly Buffer[] {
	const stored = readPrivateFile(file);
	if (stored !== undefined) return parse(stored, file);
	if (!mayMake) {
		throw new StoreError(
			"wrong_master_key",
			`the store is sealed with a master key, but ${file} is missing: put it back, or set GANGWAY_MASTER_KEY`,
		);
	}
	const key = randomBytes(32);
	writePrivateFile(file, `${key.toString("base64")}\n`);
	return [key];
}

function parse(text: string, source: string): readonly Buffer[] {
	const keys = parseMasterKeys(text);
	if (keys === undefined) {
		throw new ConfigError(
			`${source}: the value (not shown) is not a master key; allowed: base64 or hex of 32 bytes, as \`openssl rand -base64 32\` prints`,
		);
	}
	return keys;
}

function checkPlace(keyId: string): SealedPlace {
	return { table: "installation", column: "value", row: `${CHECK}${keyId}` };
}
