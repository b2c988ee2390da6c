import { readFile } from "node:fs/promises";

export interface Mount {
	readonly path: string;
	readonly type: string;
	/** Options of the file system, for cgroup v1 its controllers. */
	readonly superOptions: readonly string[];
}

export async function readMounts(): Promise<Mount[]> {
	return parseMounts(await readFile("/proc/self/mountinfo", "utf8"));
}

/** proc(5), /proc/[pid]/mountinfo. A mount that a later one of the same path covers is left out. */
export function parseMounts(mountinfo: string): Mount[] {
	const mounts = new Map<string, Mount>();
	for (const line of mountinfo.split("\n")) {
		const [before, after] = line.split(" - ");
		const path = before?.split(" ")[4];
		const [type, , superOptions] = after?.split(" ") ?? [];
		if (path === undefined || type === undefined) continue;
		const unescaped = path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
			String.fromCharCode(Number.parseInt(digits, 8)),
		);
		mounts.set(unescaped, { path: unescaped, type, superOptions: superOptions?.split(",") ?? [] });
	}
	return [...mounts.values()];
}
