import { RuntimeError } from "../../errors.js";
import type { Boot, BoxSpec } from "../runtime.js";

export function isId(id: string): boolean {
	return /^[a-z0-9][a-z0-9_-]{0,62}$/i.test(id);
}

/** An id is a name of directories and groups. */
export function checkId(id: string): void {
	if (!isId(id)) throw new RuntimeError("failed", "not an id of a devbox");
}

export function checkSpec(spec: BoxSpec, boot: Boot): void {
	checkId(spec.id);
	if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(spec.hostname))
		throw new RuntimeError("failed", "not a hostname of a devbox");
	for (const { path } of boot.files)
		if (path === "" || path.split("/").some((part) => part === "" || part === "." || part === ".."))
			throw new RuntimeError("failed", "not a path of a boot file");
}
