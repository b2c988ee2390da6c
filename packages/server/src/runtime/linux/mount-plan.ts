import { etcLayer, type Layer, layerDirectory } from "./disk.js";

/**
 * What is mounted where in a box, as two fstab(5) texts: a single `mount --all` each, since a process per mount
 * would be most of a start's time.
 */
export interface MountPlan {
	/**
	 * Mounted in the box's new mount namespace while the host's files are still there, all below `/sys`, where no data
	 * directory can be. It becomes the root after that, so that whatever links a box has put on its disk cannot lead its own
	 * next start, which has every privilege until then, to a file of the host.
	 */
	readonly stage: string;
	/** Mounted after it, on the box's root `/box`. */
	readonly box: string;
	/**
	 * Layers below another layer, parents first: `<number>:<path>` for `/layers/<number>` on `/box<path>`. They are mounted
	 * one by one, since on a layer that is the box's to change there may be a link in the place of their directory.
	 */
	readonly nested: readonly string[];
}

export interface MountPlanInput {
	/** The box's disk, absolute. */
	readonly disk: string;
	/** The snapshot of `/etc`, absolute. */
	readonly etc: string;
	readonly layers: readonly Layer[];
	/** Names in the host's `/proc`. */
	readonly proc: readonly string[];
	/** Directories of `topLevel` that are no links. */
	readonly topLevel: readonly string[];
	/** Which of `maskedSys` this host has. */
	readonly sys: readonly string[];
}

export function planMounts(input: MountPlanInput): MountPlan {
	const layers: Layer[] = [...input.layers, etcLayer];
	const isNested = ({ path }: Layer) => layers.some((other) => path.startsWith(`${other.path}/`));
	const stage = [
		mount(input.disk, "/sys/disk", "none", "bind"),
		mount(input.etc, "/sys/etc", "none", "bind,ro"),
		// The tools that do the rest: the host's, never the box's.
		...["/usr", ...input.topLevel].map((path) => mount(path, `/sys${path}`, "none", "bind,ro")),
		mount("proc", "/sys/proc", "proc", "nosuid,nodev,noexec"),
		...layers.map((layer, index) => stageLayer(layer, index)),
	];
	const box = [
		mount("/disk/root", "/box", "none", "bind"),
		...layers.flatMap((layer, index) =>
			isNested(layer) ? [] : [mount(`/layers/${index}`, `/box${layer.path}`, "none", "bind")],
		),
		mount("proc", "/box/proc", "proc", "nosuid,nodev,noexec"),
		mount("tmpfs", "/box/dev", "tmpfs", "nosuid,noexec,mode=0755,size=1m"),
		mount("devpts", "/box/dev/pts", "devpts", "nosuid,noexec,newinstance,gid=5,mode=620,ptmxmode=666"),
		mount("tmpfs", "/box/dev/shm", "tmpfs", "nosuid,nodev,mode=1777"),
		mount("tmpfs", "/box/run", "tmpfs", "nosuid,nodev,mode=0755"),
		mount("sysfs", "/box/sys", "sysfs", "ro,nosuid,nodev,noexec"),
		...input.sys.map((path) => mount("tmpfs", `/box${path}`, "tmpfs", "ro,nosuid,nodev,noexec,size=4k")),
		...input.proc.flatMap(guardProc),
	];
	const nested = layers.flatMap((layer, index) => (isNested(layer) ? [`${index}:${layer.path}`] : []));
	return { stage: stage.join(""), box: box.join(""), nested };
}

function stageLayer({ path }: Layer, index: number): string {
	const own = `/sys/disk/${layerDirectory({ path })}`;
	const lower = path === "/etc" ? "/sys/etc" : path;
	// redirect_dir: renaming a directory of the lower layer works instead of failing with EXDEV (npm, dpkg).
	// No nosuid: sudo in a box is a feature.
	const options = `lowerdir=${escapeLower(lower)},upperdir=${own}/upper,workdir=${own}/work`;
	return mount("overlay", `/sys/layers/${index}`, "overlay", `nodev,redirect_dir=on,index=off,${options}`);
}

/** A line of an fstab. */
function mount(source: string, target: string, type: string, options: string): string {
	return `${escapeField(source)} ${escapeField(target)} ${type} ${escapeField(options)},X-mount.mkdir=0755 0 0\n`;
}

/** fstab(5): blanks as octal escapes. A "#" is only a comment at a line's beginning, where paths begin with "/". */
function escapeField(field: string): string {
	return field.replace(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/** overlayfs separates lower directories by ":" and mount separates options by ",". */
function escapeLower(path: string): string {
	return path.replace(/[\\:,]/g, (character) => `\\${character}`);
}

/** Tables of the firmware, and power counters precise enough to spy on other processes. */
export const maskedSys = ["/sys/firmware", "/sys/devices/virtual/powercap"];

/** What a box may see of `/proc` besides its own processes: numbers about the machine, as container engines show them. */
const openProc = new Set(
	(
		"buddyinfo cgroups cmdline config.gz consoles cpuinfo crypto devices diskstats execdomains fb filesystems kallsyms " +
		"loadavg locks meminfo misc modules mounts net partitions schedstat self softirqs stat swaps sysvipc thread-self " +
		"uptime version version_signature vmstat zoneinfo"
	).split(" "),
);
const readOnlyProc = new Set(["sys", "fs", "tty", "pressure"]);
const procDirectories = new Set(["acpi", "asound", "bus", "driver", "dynamic_debug", "ide", "irq", "scsi"]);

/** Everything else in `/proc` is masked: an allow-list also holds for what a module adds that nobody has heard of. */
function guardProc(name: string): string[] {
	if (/^\d+$/.test(name) || openProc.has(name)) return [];
	const path = `/box/proc/${name}`;
	if (readOnlyProc.has(name)) return [mount(path, path, "none", "bind,ro,nosuid,nodev,noexec")];
	if (procDirectories.has(name)) return [mount("tmpfs", path, "tmpfs", "ro,nosuid,nodev,noexec,size=4k")];
	return [mount("/null", path, "none", "bind,ro,nosuid,noexec")];
}
