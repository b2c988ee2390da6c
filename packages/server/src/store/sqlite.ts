import Database from "better-sqlite3";
import { type DatabaseConnection, type Driver, SqliteDialect, SqliteDriver } from "kysely";
import type { DatabaseAdapter } from "./adapter.js";
import { ensurePrivateFile } from "./files.js";

const BUSY_TIMEOUT_MS = 5_000;

/** SQLite through better-sqlite3. `file` is absolute; it is made, readable by its owner alone, when it is not there. */
export function sqlite(file: string): DatabaseAdapter {
	return {
		name: "sqlite",
		supportsSeveralDaemons: false,
		dialect: new FileDialect(file),
		isDamage: (cause) => /^SQLITE_(NOTADB|CORRUPT)/.test(sqliteCode(cause)),
		accessProblem: (cause) => /^SQLITE_(CANTOPEN|READONLY|PERM|FULL|IOERR)/.exec(sqliteCode(cause))?.[0],
	};
}

class FileDialect extends SqliteDialect {
	readonly #file: string;

	constructor(file: string) {
		super({ database: async () => openDatabase(file) });
		this.#file = file;
	}

	override createDriver(): Driver {
		return new FileDriver(this.#file);
	}
}

class FileDriver extends SqliteDriver {
	readonly #opened: { database?: Database.Database };

	constructor(file: string) {
		const opened: { database?: Database.Database } = {};
		super({ database: async () => (opened.database = openDatabase(file)) });
		this.#opened = opened;
	}

	/** On a full disk SQLite has rolled back by itself already, and an error about that would hide the one that matters. */
	override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
		if (this.#opened.database?.inTransaction) await super.rollbackTransaction(connection);
	}
}

function openDatabase(file: string): Database.Database {
	// SQLite gives the -wal and -shm files the mode of the database file.
	ensurePrivateFile(file);
	const database = new Database(file, { timeout: BUSY_TIMEOUT_MS });
	try {
		database.pragma("journal_mode = WAL");
		// In WAL mode only FULL syncs the log at each commit: a devbox that was answered for survives a power loss.
		database.pragma("synchronous = FULL");
		database.pragma("foreign_keys = ON");
		return database;
	} catch (error) {
		database.close();
		throw error;
	}
}

/** `SQLITE_…`, or the empty text for every other error. */
export function sqliteCode(cause: unknown): string {
	return cause instanceof Database.SqliteError ? cause.code : "";
}
