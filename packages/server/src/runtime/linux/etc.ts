import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
	access,
	chmod,
	copyFile,
	lchown,
	lstat,
	mkdir,
	readdir,
	readFile,
	readlink,
	rename,
	rm,
	symlink,
	writeFile,
} from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { resolvConf, sudoers, systemAccounts } from "./etc-accounts.js";
import { ifExists, isMissing, namesIn } from "./files.js";

interface Entry {
	/** Relative to `/etc`. */
	readonly path: string;
	readonly kind: "file" | "directory" | "symlink";
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
	/** Changes with the content. */
	readonly version: string;
}

/** Raised when what is made of the same host changes. */
const format = 1;

/** Written anew for each box or installation, or about the host itself. */
const notCopied =
	/^(passwd-?|group-?|shadow-?|gshadow-?|subuid-?|subgid-?|hosts|hostname|resolv\.conf|fstab|crypttab|machine-id|sudoers|sudoers\.d\/.+|cron[^/]*\/.+|crontab|ssh\/ssh_host_.*|\.pwd\.lock|wireguard|letsencrypt|ssl\/private)$/;

/**
 * A copy of what every user of the host may read in `/etc`, completed with accounts of its own: the lower layer of the boxes'
 * `/etc`. A copy because a lower layer must not change, and because no overlay could leave files out one by one.
 * Its name is a digest of what it was made of, so an unchanged host makes none again. Returns the directory's name.
 */
export async function snapshotEtc(directory: string): Promise<string> {
	const entries = await readable("/etc");
	const [passwd, group] = await Promise.all([readFile("/etc/passwd", "utf8"), readFile("/etc/group", "utf8")]);
	const sudo = await isExecutable("/usr/bin/sudo");
	const hash = createHash("sha256").update(JSON.stringify([format, entries, passwd, group, sudo]));
	const name = `etc-${hash.digest("hex").slice(0, 16)}`;
	const path = join(directory, name);
	if (await ifExists(lstat(path))) return name;
	const temporary = join(directory, `.new-etc-${randomBytes(4).toString("hex")}`);
	await mkdir(temporary, { mode: 0o755 });
	await chmod(temporary, 0o755);
	const isDirectory = ({ kind }: Entry) => kind === "directory";
	for (const entry of entries.filter(isDirectory)) await copyEntry(entry, temporary);
	await Promise.all(entries.filter((entry) => !isDirectory(entry)).map((entry) => copyEntry(entry, temporary)));
	await writeOwn(temporary, systemAccounts(passwd, group), sudo);
	await rename(temporary, path);
	return name;
}

/** Removes the snapshots that no box refers to, and half-made ones. */
export async function removeSnapshots(directory: string, keep: ReadonlySet<string>): Promise<void> {
	for (const name of await namesIn(directory))
		if ((name.startsWith("etc-") && !keep.has(name)) || name.startsWith(".new-etc-"))
			await rm(join(directory, name), { recursive: true, force: true });
}

/** `/etc/resolv.conf` for a box. */
export async function currentResolvConf(): Promise<string> {
	const own = (await ifExists(readFile("/etc/resolv.conf", "utf8"))) ?? "";
	// systemd-resolved's stub listens on loopback; the real servers are in this file.
	const behindStub = /^nameserver\s+127\.0\.0\.5[34]/m.test(own)
		? await ifExists(readFile("/run/systemd/resolve/resolv.conf", "utf8"))
		: undefined;
	const addresses = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []);
	return resolvConf(behindStub ?? own, addresses);
}

/** Everything below `root` that others may read, in an order in which parents come first. */
async function readable(root: string, below = ""): Promise<Entry[]> {
	const entries: Entry[] = [];
	for (const name of (await readdir(join(root, below))).sort()) {
		const path = below === "" ? name : `${below}/${name}`;
		if (notCopied.test(path)) continue;
		const entry = await describe(root, path);
		if (entry === undefined) continue;
		entries.push(entry);
		if (entry.kind === "directory") entries.push(...(await readable(root, path)));
	}
	return entries;
}

async function describe(root: string, path: string): Promise<Entry | undefined> {
	const stat = await ifExists(lstat(join(root, path)));
	if (stat === undefined) return undefined;
	const common = { path, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
	if (stat.isSymbolicLink()) return { ...common, kind: "symlink", version: await readlink(join(root, path)) };
	if (stat.isDirectory() && (stat.mode & 0o5) === 0o5) return { ...common, kind: "directory", version: "" };
	if (!stat.isFile() || (stat.mode & 0o4) === 0) return undefined;
	return { ...common, kind: "file", version: `${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}` };
}

async function copyEntry(entry: Entry, to: string): Promise<void> {
	const source = join("/etc", entry.path);
	const target = join(to, entry.path);
	if (entry.kind === "symlink") await symlink(entry.version, target);
	else if (entry.kind === "directory") await mkdir(target);
	else {
		try {
			await copyFile(source, target, constants.COPYFILE_EXCL);
		} catch (error) {
			if (isMissing(error)) return; // Removed since it was listed.
			throw error;
		}
	}
	await lchown(target, entry.uid, entry.gid);
	if (entry.kind !== "symlink") await chmod(target, entry.mode);
}

async function writeOwn(etc: string, accounts: ReturnType<typeof systemAccounts>, sudo: boolean): Promise<void> {
	const put = async (name: string, mode: number, content: string, gid = 0) => {
		await writeFile(join(etc, name), content, { mode, flag: "wx" });
		await lchown(join(etc, name), 0, gid);
		await chmod(join(etc, name), mode);
	};
	const shadowGid = Number(/^shadow:[^:]*:(\d+):/m.exec(accounts.group)?.[1] ?? 0);
	await put("passwd", 0o644, accounts.passwd);
	await put("group", 0o644, accounts.group);
	await put("shadow", 0o640, accounts.shadow, shadowGid);
	await put("gshadow", 0o640, accounts.gshadow, shadowGid);
	for (const name of ["subuid", "subgid", "fstab"]) await put(name, 0o644, "");
	// Empty, not missing: systemd's and D-Bus's tools then know that it is yet to be made.
	await put("machine-id", 0o444, "");
	if (!sudo) return;
	await put("sudoers", 0o440, sudoers);
	await mkdir(join(etc, "sudoers.d"), { recursive: true });
	await chmod(join(etc, "sudoers.d"), 0o750);
}

async function isExecutable(path: string): Promise<boolean> {
	return await access(path, constants.X_OK).then(
		() => true,
		() => false,
	);
}
