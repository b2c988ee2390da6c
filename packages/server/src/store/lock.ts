import Database from "better-sqlite3";
import { StoreError } from "../errors.js";
import { ensurePrivateFile } from "./files.js";
import { sqliteCode } from "./sqlite.js";

export interface Lock {
	/** Twice is fine. */
	release(): void;
}

/**
 * Takes `file` for this process alone. Node has no flock, so the lock is SQLite's own: an exclusive transaction that is
 * never written to. The kernel drops it when the process dies, however it dies, and child processes do not inherit it.
 * Throws `StoreError` `locked`, naming `what`, when another process (or another store in this one) has it.
 */
export function lock(file: string, what: string): Lock {
	ensurePrivateFile(file);
	const database = new Database(file, { timeout: 0 });
	try {
		database.pragma("locking_mode = EXCLUSIVE");
		// Nothing is written, so no journal need lie beside the file.
		database.pragma("journal_mode = MEMORY");
		database.exec("BEGIN EXCLUSIVE");
	} catch (cause) {
		database.close();
		if (!sqliteCode(cause).startsWith("SQLITE_BUSY")) throw cause;
		throw new StoreError("locked", `${what} is in use by another gangway daemon`, { cause });
	}
	return { release: () => void database.close() };
}
