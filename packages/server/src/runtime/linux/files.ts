import { randomBytes } from "node:crypto";
import { type FileHandle, open, readdir, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** The value of `promise`, or undefined when the file, directory or process it speaks of does not exist. */
export async function ifExists<T>(promise: Promise<T>): Promise<T | undefined> {
	try {
		return await promise;
	} catch (error) {
		if (isMissing(error)) return undefined;
		throw error;
	}
}

export function isMissing(error: unknown): boolean {
	// ESRCH: a file below /proc whose process ended between open and read.
	return hasCode(error, "ENOENT") || hasCode(error, "ESRCH") || hasCode(error, "ENOTDIR");
}

export function hasCode(error: unknown, code: string): boolean {
	return (error as NodeJS.ErrnoException | undefined)?.code === code;
}

export async function namesIn(directory: string): Promise<string[]> {
	return (await ifExists(readdir(directory))) ?? [];
}

/** Undefined when the file is missing or was cut short by a crash of the host. */
export async function readJson(path: string): Promise<unknown> {
	const text = await ifExists(readFile(path, "utf8"));
	try {
		return text === undefined ? undefined : JSON.parse(text);
	} catch {
		return undefined;
	}
}

/** The file holds the old or the new value whenever it is read; `durable` makes the new one survive a power loss too. */
export async function writeJson(path: string, value: unknown, options: { readonly durable: boolean }): Promise<void> {
	const temporary = `${path}.${randomBytes(4).toString("hex")}.tmp`;
	await using(open(temporary, "wx", 0o600), async (file) => {
		await file.writeFile(`${JSON.stringify(value)}\n`);
		if (options.durable) await file.sync();
	});
	await rename(temporary, path);
	if (options.durable) await syncDirectory(dirname(path));
}

export async function syncDirectory(path: string): Promise<void> {
	await using(open(path, "r"), (directory) => directory.sync());
}

async function using(opening: Promise<FileHandle>, use: (file: FileHandle) => Promise<void>): Promise<void> {
	const file = await opening;
	try {
		await use(file);
	} finally {
		await file.close();
	}
}
