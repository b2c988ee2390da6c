import { dirname, join } from "node:path";
import { Kysely, type Transaction } from "kysely";
import type { Logger } from "pino";
import { GangwayError, SettingError, StoreError } from "../errors.js";
import type { DatabaseAdapter } from "./adapter.js";
import { ensurePrivateDirectory, fileProblem } from "./files.js";
import { type Lock, lock } from "./lock.js";
import { migrate } from "./migrate.js";
import type { Schema } from "./schema.js";
import { sqlite } from "./sqlite.js";

export interface StoreOptions {
	/** `sqlite:<absolute path>`; undefined is `gangway.db` in the data directory. */
	readonly url?: string | undefined;
	/** Absolute. Made (0700) when it is not there. */
	readonly dataDir: string;
	readonly log?: Pick<Logger, "info">;
}

export interface Store {
	readonly db: Kysely<Schema>;
	/**
	 * Runs `work` in one transaction: all of it or nothing. Inside, use only the transaction it is given: with SQLite
	 * there is one connection, and a query on `db` would wait for this transaction to end.
	 */
	transaction<T>(work: (trx: Transaction<Schema>) => Promise<T>): Promise<T>;
	/** Twice is fine. */
	close(): Promise<void>;
}

/**
 * Opens the store of a data directory and brings its schema up to date.
 * Throws `StoreError` (`locked`, `newer_schema`, `damaged`) or `SettingError`; nothing stays open then.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
	const { dataDir, log } = options;
	const url = options.url ?? `sqlite:${join(dataDir, "gangway.db")}`;
	const file = sqliteFile(url);
	const adapter = sqlite(file);
	const locks: Lock[] = [];
	const db = new Kysely<Schema>({ dialect: adapter.dialect });
	let closing: Promise<void> | undefined;
	const close = () => {
		closing ??= db.destroy().finally(() => locks.forEach((held) => void held.release()));
		return closing;
	};
	try {
		ensurePrivateDirectory(dataDir);
		if (!adapter.supportsSeveralDaemons) takeLocks(locks, dataDir, file);
		await migrate(db, log);
	} catch (cause) {
		await close();
		throw explain(adapter, dataDir, cause);
	}
	return { db, close, transaction: (work) => db.transaction().execute(work) };
}

function sqliteFile(url: string): string {
	const file = /^sqlite:(.+)$/.exec(url)?.[1];
	if (file === undefined) {
		throw new SettingError(
			"database_url",
			"only SQLite is available, other databases are not available yet; allowed: sqlite:<path> or unset",
		);
	}
	return file;
}

/** The data directory has one daemon; so has a database that lies elsewhere. What is taken is in `locks`, also after a throw. */
function takeLocks(locks: Lock[], dataDir: string, file: string): void {
	locks.push(lock(join(dataDir, "lock.db"), `the data directory ${dataDir}`));
	if (dirname(file) === dataDir) return;
	ensurePrivateDirectory(dirname(file));
	locks.push(lock(`${file}.lock`, `the database ${file}`));
}

function explain(adapter: DatabaseAdapter, dataDir: string, cause: unknown): unknown {
	if (cause instanceof GangwayError) return cause;
	if (adapter.isDamage(cause)) return new StoreError("damaged", "the database is damaged: restore a backup", { cause });
	const problem = adapter.accessProblem(cause) ?? fileProblem(cause);
	if (problem === undefined) return cause;
	return new SettingError(
		"data_dir",
		`${JSON.stringify(dataDir)} cannot be used (${problem}); allowed: a directory that gangway may write to`,
	);
}
