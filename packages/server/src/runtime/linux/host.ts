import { constants } from "node:fs";
import { access, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError } from "../../errors.js";
import { type Cgroups, findMount, missingController } from "./cgroup.js";
import { CgroupsV1 } from "./cgroup-v1.js";
import { CgroupsV2 } from "./cgroup-v2.js";
import { findLayers, makeLayers } from "./disk.js";
import { planMounts } from "./mount-plan.js";
import { type Mount, readMounts } from "./mounts.js";
import { run, toolPath } from "./run.js";

/** Each tool with the Debian package that has it. */
const tools: Readonly<Record<string, string>> = {
	bash: "bash",
	chroot: "coreutils",
	cp: "coreutils",
	dd: "coreutils",
	fallocate: "util-linux",
	grep: "grep",
	ip: "iproute2",
	mount: "mount",
	nft: "nftables",
	nsenter: "util-linux",
	pivot_root: "util-linux",
	rm: "coreutils",
	setpriv: "util-linux",
	setsid: "util-linux",
	tar: "tar",
	umount: "mount",
	unshare: "util-linux",
};

/** Throws a `RuntimeError` that says what this host lacks to run boxes. */
export async function checkHost(): Promise<void> {
	if (process.platform !== "linux") throw unsupported(`the runtime "linux" needs Linux, this is ${process.platform}`);
	if (process.getuid?.() !== 0) throw unsupported('the runtime "linux" needs root');
	const missing = new Set<string>();
	for (const [tool, debianPackage] of Object.entries(tools)) if (!(await isInstalled(tool))) missing.add(debianPackage);
	if (missing.size > 0)
		throw unsupported(`the runtime "linux" needs more tools: apt-get install ${[...missing].sort().join(" ")}`);
}

export function findCgroups(mounts: readonly Mount[], name: string): Cgroups {
	if (findMount(mounts, "cgroup", "memory")) return new CgroupsV1(mounts, name);
	const root = findMount(mounts, "cgroup2");
	if (root === undefined) throw missingController("memory");
	return new CgroupsV2(root, name);
}

/** Mounts what a box will need once, in a namespace that ends at once, so a host that cannot says so at its start. */
export async function checkOverlays(directory: string, etc: string): Promise<void> {
	const disk = join(directory, "probe");
	const layers = await findLayers(await readMounts());
	await mkdir(disk, { recursive: true, mode: 0o700 });
	await makeLayers(disk, layers);
	const { stage } = planMounts({ disk, etc, layers, proc: [], topLevel: [], sys: [] });
	const script = "mount -n -t tmpfs gangway /sys && cat >/sys/fstab && mount -n --all --fstab /sys/fstab";
	try {
		await run("unshare", ["--mount", "--propagation", "private", "/bin/sh", "-c", script], { input: stage });
	} catch (cause) {
		throw new RuntimeError("unsupported_host", "the disks of devboxes cannot be mounted on this host (overlayfs)", {
			cause,
		});
	} finally {
		await rm(disk, { recursive: true, force: true });
	}
}

async function isInstalled(tool: string): Promise<boolean> {
	for (const directory of toolPath.split(":"))
		try {
			await access(join(directory, tool), constants.X_OK);
			return true;
		} catch {}
	return false;
}

function unsupported(message: string): RuntimeError {
	return new RuntimeError("unsupported_host", message);
}
