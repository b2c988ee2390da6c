import { access, chmod, lchown, lstat, mkdir, readlink, realpath, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { ifExists } from "./files.js";
import type { Mount } from "./mounts.js";

/**
 * A box's disk, fail closed: the root is a plain directory of the box's own, and only what is named here comes from the host,
 * as the lower layer of an overlay whose upper layer belongs to the box. What the host has elsewhere, now or later, is
 * not there.
 *
 *     <disk>/root              /
 *     <disk>/layers/<path>/    upper and work directories of the overlay mounted at <path>, "/" as "%2F"
 */
export interface Layer {
	/** Where it is, in the host and in the box. */
	readonly path: string;
}

/** A snapshot is its lower layer instead of the host's directory. */
export const etcLayer: Layer = { path: "/etc" };

/** Directories on a host that has not merged them into `/usr`, else symbolic links. */
export const topLevel = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] as const;

/** Leads to the daemon's node in each run, wherever that is then; `/opt/gangway/bin/node` leads here. */
export const nodeLink = "/run/gangway-node";

/** What dpkg, apt and the maintainer scripts of Debian's packages must find to go on where the host's packages are. */
const packageState = [
	"/var/lib/dpkg",
	"/var/lib/apt",
	"/var/lib/pam",
	"/var/lib/ucf",
	"/var/lib/python",
	"/var/lib/sgml-base",
	"/var/lib/xml-core",
	"/var/lib/systemd/deb-systemd-helper-enabled",
	"/var/lib/systemd/deb-systemd-helper-masked",
	"/var/lib/systemd/deb-systemd-user-helper-enabled",
	"/var/lib/systemd/deb-systemd-user-helper-masked",
];

/** Directories of the box's own, with the modes of Debian's base-files. [path, mode, group] */
const skeleton: readonly (readonly [string, number, number?])[] = [
	["boot", 0o755],
	["dev", 0o755],
	["etc", 0o755],
	["home", 0o755],
	["media", 0o755],
	["mnt", 0o755],
	["opt", 0o755],
	["opt/gangway", 0o755],
	["opt/gangway/bin", 0o755],
	["proc", 0o555],
	["root", 0o700],
	["run", 0o755],
	["srv", 0o755],
	["sys", 0o555],
	["tmp", 0o1777],
	["usr", 0o755],
	["var", 0o755],
	["var/backups", 0o755],
	["var/cache", 0o755],
	["var/cache/apt", 0o755],
	["var/cache/apt/archives", 0o755],
	["var/cache/apt/archives/partial", 0o700],
	["var/cache/debconf", 0o755],
	["var/cache/ldconfig", 0o700],
	["var/lib", 0o755],
	["var/lib/misc", 0o755],
	["var/lib/systemd", 0o755],
	["var/local", 0o2775, 50],
	["var/log", 0o755],
	["var/log/apt", 0o755],
	["var/mail", 0o2775, 8],
	["var/opt", 0o755],
	["var/spool", 0o755],
	["var/tmp", 0o1777],
];

/** The layers of a box on this host. Host mounts below one of them are layers of their own: an overlay does not cross mounts. */
export async function findLayers(mounts: readonly Mount[]): Promise<Layer[]> {
	const layers: Layer[] = [{ path: "/usr" }];
	// Equal when no part of the path is a link: a link may lead out of the allow-list.
	for (const path of [...topLevel, ...packageState])
		if ((await ifExists(realpath(path))) === path) layers.push({ path });
	// A single file that is mounted (containers do that) stays out: overlays are of directories.
	for (const layer of [...layers])
		for (const { path } of mounts)
			if (path.startsWith(`${layer.path}/`) && !layers.some((other) => other.path === path))
				if ((await ifExists(stat(path)))?.isDirectory()) layers.push({ path });
	// Parents first, or they would hide their children.
	return layers.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Relative to the disk. Holds nothing that mount's or overlayfs's options would split at. */
export function layerDirectory(layer: Layer): string {
	return join("layers", encodeURIComponent(layer.path));
}

/** Makes an empty disk in the empty directory `disk`. */
export async function makeDisk(disk: string, layers: readonly Layer[]): Promise<void> {
	const root = join(disk, "root");
	await makeDirectory(disk, 0o700);
	await makeDirectory(root, 0o755);
	await makeDirectory(join(disk, "layers"), 0o755);
	for (const [path, mode, group] of skeleton) await makeDirectory(join(root, path), mode, group);
	for (const path of topLevel) {
		const stats = await ifExists(lstat(path));
		if (stats?.isSymbolicLink()) await symlink(await readlink(path), join(root, path));
		else if (stats) await makeDirectory(join(root, path), 0o755);
	}
	for (const [path, target] of [
		["opt/gangway/bin/node", nodeLink],
		["var/run", "/run"],
		["var/lock", "/run/lock"],
		["var/spool/mail", "../mail"],
	] as const)
		await symlink(target, join(root, path));
	// Not below an overlay, so it has to be there before the first start.
	for (const { path } of layers)
		if (path.startsWith("/var/")) await mkdir(join(root, path), { recursive: true, mode: 0o755 });
	await makeLayers(disk, layers);
}

/** Makes the upper and work directories that are missing: all for a new disk, later those of new mounts of the host. */
export async function makeLayers(disk: string, layers: readonly Layer[]): Promise<void> {
	const makeIfMissing = async ({ path }: Layer) => {
		const directory = join(disk, layerDirectory({ path }));
		if (await ifExists(access(join(directory, "work")).then(() => true))) return;
		const lower = await stat(path);
		await mkdir(directory, { recursive: true });
		// The overlay's root directory shows the upper one's owner and mode.
		const upper = join(directory, "upper");
		await mkdir(upper, { recursive: true });
		await lchown(upper, lower.uid, lower.gid);
		await chmod(upper, lower.mode & 0o7777);
		await mkdir(join(directory, "work"), { recursive: true });
	};
	await Promise.all([...layers, etcLayer].map(makeIfMissing));
}

/**
 * Without those for which the box has put something else in the place of their directory: there is then nowhere
 * to mount them, and a link may lead anywhere.
 */
export async function mountableLayers(disk: string, layers: readonly Layer[]): Promise<Layer[]> {
	const places = await Promise.all(
		layers.map(async ({ path }) => {
			const place = join(disk, "root", path);
			return !path.startsWith("/var/") || (await ifExists(realpath(place))) === place;
		}),
	);
	return layers.filter((_, index) => places[index]);
}

/** With exactly this mode, whatever the daemon's umask. */
async function makeDirectory(path: string, mode: number, group = 0): Promise<void> {
	await mkdir(path, { recursive: true });
	if (group !== 0) await lchown(path, 0, group);
	await chmod(path, mode);
}
