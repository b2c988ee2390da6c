/** The ways from an OpenSSH client to the box's sshd. Every one has the same client, cipher and key exchange. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts, output, startProcess } from "./process.js";
import type { Peer, Stoppable } from "./suite.js";
import type { World } from "./world.js";

export interface SshWay {
	/** Options and target, for `ssh`. */
	readonly args: readonly string[];
	/** What stands in between; undefined where nothing does. */
	readonly pid: number | undefined;
}

type SshPeer = Peer<SshWay>;

/** What OpenSSH and the daemon both have: what is compared is the way, not the algorithm. */
const ALGORITHMS = {
	Ciphers: "aes128-gcm@openssh.com",
	KexAlgorithms: "curve25519-sha256",
	HostKeyAlgorithms: "ecdsa-sha2-nistp256",
};

function sshArgs(keyFile: string, user: string, host: string, way: Readonly<Record<string, string>>): string[] {
	const options = {
		...ALGORITHMS,
		...way,
		IdentityFile: keyFile,
		IdentitiesOnly: "yes",
		StrictHostKeyChecking: "no",
		UserKnownHostsFile: "/dev/null",
		LogLevel: "ERROR",
		BatchMode: "yes",
	};
	const words = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
	return ["-F", "none", ...words, `${user}@${host}`];
}

/** The box's own key, in a file, and what it opens. */
async function boxKey({ box, dir }: World): Promise<{ keyFile: string; user: string; name: string }> {
	const { ssh_private_key, ssh_user, url } = await box.createSshKey();
	const keyFile = join(dir, "box-key");
	writeFileSync(keyFile, ssh_private_key, { mode: 0o600 });
	return { keyFile, user: ssh_user, name: url };
}

/** As the documentation has it. */
function overTls(name: string, port: number): string {
	return `openssl s_client -quiet -servername ${name} -connect 127.0.0.1:${port} 2>/dev/null`;
}

const nothingToStop: Stoppable = { stop: async () => {} };

const openssh: SshPeer = {
	name: "openssh",
	start: async (world) => {
		const { keyFile, user } = await boxKey(world);
		return { args: sshArgs(keyFile, user, world.box.address, { Port: "22" }), pid: undefined, ...nothingToStop };
	},
};

function haproxyConfig({ dir, box }: World, name: string, port: number): string {
	return `global
	nbthread 1
	maxconn 9000
defaults
	mode tcp
	timeout connect 10s
	timeout client 900s
	timeout server 900s
frontend f
	bind 127.0.0.1:${port} backlog 4096 ssl crt ${dir}/ssh.pem
	use_backend box if { ssl_fc_sni ${name} }
backend box
	server s ${box.address}:22
`;
}

const haproxy: SshPeer = {
	name: "haproxy",
	start: async (world) => {
		const program = "/usr/sbin/haproxy";
		if (!existsSync(program)) return undefined;
		const { keyFile, user, name } = await boxKey(world);
		const [port = 0] = await freePorts(1);
		const config = join(world.dir, "haproxy-ssh.cfg");
		writeFileSync(
			join(world.dir, "ssh.pem"),
			readFileSync(world.certificate, "utf8") + readFileSync(world.key, "utf8"),
		);
		writeFileSync(config, haproxyConfig(world, name, port));
		const { pid, stop } = await startProcess([program, "-f", config, "-db"], [port]);
		return { args: sshArgs(keyFile, user, name, { ProxyCommand: overTls(name, port) }), pid, stop };
	},
};

/** A daemon that has done nothing yet; the two ways through it share it otherwise. */
async function throughGangway({ gangway }: World, args: readonly string[]): Promise<SshWay & Stoppable> {
	await gangway.restart();
	return {
		args,
		// Another one after each start.
		get pid() {
			return gangway.pid;
		},
		...nothingToStop,
	};
}

const passthrough: SshPeer = {
	name: "passthrough",
	start: async (world) => {
		const { keyFile, user, name } = await boxKey(world);
		return throughGangway(world, sshArgs(keyFile, user, name, { ProxyCommand: overTls(name, world.gangway.tlsPort) }));
	},
};

const gateway: SshPeer = {
	name: "gateway",
	start: async (world) => {
		const keyFile = join(world.dir, "user-key");
		if (!existsSync(keyFile)) {
			await output("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", keyFile]);
			await world.gangway.addSshKey(readFileSync(`${keyFile}.pub`, "utf8"));
		}
		return throughGangway(world, sshArgs(keyFile, world.box.id, "127.0.0.1", { Port: String(world.gangway.sshPort) }));
	},
};

export const SSH_PEERS: readonly SshPeer[] = [openssh, passthrough, haproxy, gateway];
