import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { SshClient } from "./ssh.js";

const modules = new URL("../../node_modules", import.meta.url).pathname;

/** Copies this checkout's Vite, with all that it needs, into a directory of a devbox, as `scp -r` would. */
export async function installVite(ssh: SshClient, directory: string): Promise<void> {
	const pack = spawn("tar", ["-C", modules, "-cf", "-", ...closure("vite")]);
	const unpack = ssh.spawn([`mkdir -p ${directory}/node_modules && tar -C ${directory}/node_modules -xf -`]);
	pack.stdout.pipe(unpack.stdin!);
	const [[packed], [unpacked]] = await Promise.all([once(pack, "close"), once(unpack, "close")]);
	if (packed !== 0 || unpacked !== 0) throw new Error(`Vite was not copied: tar ${packed}, ssh ${unpacked}`);
}

/** A package and everything that it depends on, as far as it is installed. */
function closure(name: string, found = new Set<string>()): Set<string> {
	if (found.has(name)) return found;
	let manifest: { dependencies?: object; optionalDependencies?: object };
	try {
		manifest = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
	} catch {
		// Of another platform.
		return found;
	}
	found.add(name);
	for (const of of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) closure(of, found);
	return found;
}
