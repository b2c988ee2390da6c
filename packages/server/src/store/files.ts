import {
	chmodSync,
	closeSync,
	existsSync,
	fsyncSync,
	mkdirSync,
	openSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { ConfigError } from "../errors.js";

/** Makes the directory and its parents where they are missing, open to their owner alone. An existing one is left as it is. */
export function ensurePrivateDirectory(directory: string): void {
	// Not `recursive`: below a directory that takes none, such as /proc, node tries for ever.
	if (statSync(directory, { throwIfNoEntry: false })?.isDirectory()) return;
	if (!existsSync(dirname(directory))) ensurePrivateDirectory(dirname(directory));
	mkdirSync(directory, { mode: 0o700 });
}

/**
 * Makes an empty file of mode 0600, or takes the rights of others from the one that is there.
 * An existing file is never opened: closing any descriptor of a file drops the POSIX locks that this process holds on it,
 * SQLite's too (https://sqlite.org/howtocorrupt.html, 2.2).
 */
export function ensurePrivateFile(file: string): void {
	if (existsSync(file)) {
		chmodSync(file, 0o600);
		return;
	}
	closeSync(openSync(file, "wx", 0o600));
	syncDirectory(dirname(file));
}

/** Writes a file of mode 0600 that after a crash is there whole or not at all. Replaces an older one. */
export function writePrivateFile(file: string, content: string): void {
	const unfinished = `${file}.new`;
	rmSync(unfinished, { force: true });
	const descriptor = openSync(unfinished, "wx", 0o600);
	try {
		writeSync(descriptor, content);
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
	renameSync(unfinished, file);
	syncDirectory(dirname(file));
}

/** The content of a secret file; undefined when there is none. Refuses one that others than its owner may read or write. */
export function readPrivateFile(file: string): string | undefined {
	if (!existsSync(file)) return undefined;
	const mode = statSync(file).mode & 0o777;
	if ((mode & 0o077) !== 0) {
		const shown = mode.toString(8).padStart(4, "0");
		throw new ConfigError(`${file}: mode ${shown} opens this secret to others; allowed: 0600 (chmod 600 ${file})`);
	}
	return readFileSync(file, "utf8");
}

function syncDirectory(directory: string): void {
	const descriptor = openSync(directory, "r");
	try {
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
}

/** `EACCES`, `ENOSPC` …; undefined when the error is not one of the file system's. */
export function fileProblem(error: unknown): string | undefined {
	const { code, syscall } = error as NodeJS.ErrnoException;
	return syscall === undefined ? undefined : code;
}
