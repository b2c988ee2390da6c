import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { BootFile } from "../runtime.js";
import { isAlive, type ProcessId } from "./process.js";

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const newFileFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Puts another version of a file of `/run/gangway` in its place, in the box whose PID 1 is `init`; whoever reads it sees the
 * old or the new one. Root in the box can have made anything of what is there, so no link is followed: each directory is
 * opened by its name in the one before.
 */
export async function replaceBootFile(init: ProcessId, file: BootFile): Promise<void> {
	const opened: FileHandle[] = [];
	const enter = async (path: string, flags = directoryFlags) => {
		const directory = await open(path, flags);
		opened.push(directory);
		return `/proc/self/fd/${directory.fd}`;
	};
	try {
		// A magic link, to be followed: the root of that process.
		let here = await enter(`/proc/${init.pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
		// It may have ended before, and its number be another's by now.
		if (!(await isAlive(init))) return;
		for (const name of ["run", "gangway", ...dirname(file.path).split("/")]) {
			if (name !== ".") here = await enter(`${here}/${name}`);
		}
		await replaceIn(here, basename(file.path), file);
	} finally {
		for (const directory of opened) await directory.close();
	}
}

async function replaceIn(directory: string, name: string, { mode, content }: BootFile): Promise<void> {
	const temporary = `${directory}/.${name}.${randomBytes(8).toString("hex")}`;
	const file = await open(temporary, newFileFlags, mode);
	try {
		await file.writeFile(content);
		await file.chmod(mode);
		await rename(temporary, `${directory}/${name}`);
	} catch (error) {
		await unlink(temporary).catch(() => {});
		throw error;
	} finally {
		await file.close();
	}
}
