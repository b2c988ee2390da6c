/** The parts of a box's `/etc` that are not the host's. Pure text. */

const nobody = 65534;

/** The host's system accounts without its people: they have no business in a box. */
export function systemAccounts(passwd: string, group: string) {
	const users = lines(passwd).filter((fields) => isSystem(fields[2]));
	const names = new Set(users.map((fields) => fields[0]));
	const groups = lines(group)
		.filter((fields) => isSystem(fields[2]))
		.map(([name, , gid, members]) => [name, "x", gid, onlyThose(members, names)]);
	return {
		passwd: text(users.map((fields) => [fields[0], "x", ...fields.slice(2)])),
		// "*" and not "!": an sshd without PAM takes "!" for a locked account and refuses its keys too.
		shadow: text(users.map(([name]) => [name, "*", "19000", "0", "99999", "7", "", "", ""])),
		group: text(groups),
		gshadow: text(groups.map(([name, , , members]) => [name, "*", "", members])),
	};
}

export const sudoers = `Defaults env_reset
Defaults mail_badpass
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults use_pty
root ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
`;

const publicResolvers = ["1.1.1.1", "9.9.9.9"];

/**
 * The host's name servers as far as a box can reach them: not the host's own addresses, which the firewall closes.
 * IPv6 is left out because boxes have none.
 */
export function resolvConf(hosts: string, hostAddresses: readonly string[]): string {
	const rows = hosts.split("\n").map((line) => line.trim().split(/\s+/));
	const servers = rows
		.filter(([key, address]) => key === "nameserver" && /^\d+(\.\d+){3}$/.test(address ?? ""))
		.map(([, address]) => address as string)
		.filter((address) => !/^(127|0)\.|^169\.254\./.test(address) && !hostAddresses.includes(address));
	const others = rows.filter(([key]) => key === "search" || key === "options").map((fields) => fields.join(" "));
	const used = servers.length > 0 ? servers : publicResolvers;
	return `${[...used.map((address) => `nameserver ${address}`), ...others].join("\n")}\n`;
}

function isSystem(id: string | undefined): boolean {
	const number = Number(id);
	return id !== "" && (number < 1000 || number === nobody);
}

function onlyThose(members: string | undefined, names: ReadonlySet<string | undefined>): string {
	return (members ?? "")
		.split(",")
		.filter((member) => names.has(member))
		.join(",");
}

function lines(file: string): string[][] {
	return file
		.split("\n")
		.map((line) => line.split(":"))
		.filter((fields) => fields.length >= 4 && /^[a-zA-Z0-9_]/.test(fields[0] ?? ""));
}

function text(rows: readonly (readonly (string | undefined)[])[]): string {
	return rows.map((fields) => `${fields.join(":")}\n`).join("");
}
