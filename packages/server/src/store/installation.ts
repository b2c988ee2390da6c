import type { Kysely } from "kysely";
import type { Schema } from "./schema.js";
import type { Seal } from "./seal.js";

/** Secrets of the whole installation by name, such as the keys of its certificate authorities. */
export interface SecretStorage {
	get(name: string): Promise<string | undefined>;
	set(name: string, value: string): Promise<void>;
}

/** Keeps them sealed in the table `installation`. */
export function secretStorage(db: Kysely<Schema>, seal: Seal): SecretStorage {
	const place = (name: string) => ({ table: "installation", column: "value", row: `secret:${name}` });
	return {
		get: async (name) => {
			const sealed = await readInstallation(db, place(name).row);
			return sealed === undefined ? undefined : seal.open(sealed, place(name));
		},
		set: async (name, value) => writeInstallation(db, place(name).row, seal.seal(value, place(name))),
	};
}

/** A value that is no secret. */
export async function readInstallation(db: Kysely<Schema>, key: string): Promise<string | undefined> {
	const row = await db.selectFrom("installation").select("value").where("key", "=", key).executeTakeFirst();
	return row?.value;
}

export async function writeInstallation(db: Kysely<Schema>, key: string, value: string): Promise<void> {
	await db
		.insertInto("installation")
		.values({ key, value })
		.onConflict((conflict) => conflict.column("key").doUpdateSet({ value }))
		.execute();
}
