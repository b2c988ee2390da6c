import { readFile } from "node:fs/promises";
import type { BootFile } from "../runtime.js";

/** What the init script does at one start of a devbox. */
export interface BootPlan {
	/** Random and secret to this start: tells the init script's reports from what commands print. Hex. */
	readonly nonce: string;
	readonly user: string;
	readonly uid: number;
	/** Files are written at the first start only. */
	readonly firstStart: boolean;
	readonly environmentVariables: Readonly<Record<string, string>>;
	readonly files: Readonly<Record<string, string>>;
	readonly launchCommands: readonly string[];
	readonly entrypoint: string | undefined;
	readonly suspendCommands: readonly string[];
	readonly suspendDeadlineMs: number;
	/** The one key that may log in: an OpenSSH public key. */
	readonly authorizedKey: string;
	readonly hostPrivateKeyPem: string;
	readonly hostPublicKey: string;
	/** The line of its `-cert.pub` file. */
	readonly hostCertificate: string;
}

/** In the package both beside `src` and `dist`. */
const scriptUrl = new URL("../../../src/runtime/init/init.sh", import.meta.url);
let script: Promise<string> | undefined;

/** The content of `/run/gangway` for one start. */
export async function bootFiles(plan: BootPlan): Promise<BootFile[]> {
	script ??= readFile(scriptUrl, "utf8");
	const secret = (path: string, content: string): BootFile => ({ path, mode: 0o600, content });
	const open = (path: string, content: string): BootFile => ({ path, mode: 0o644, content });
	const environment = { LANG: "C.UTF-8", ...plan.environmentVariables };
	return [
		{ path: "init", mode: 0o700, content: await script },
		secret("boot.env", bootEnvironment(plan)),
		secret("sshd_config", sshdConfig(plan.user)),
		secret("sshd_setenv", sshdSetEnv(environment)),
		authorizedKeys(plan.authorizedKey),
		secret("ssh_host_ecdsa_key", plan.hostPrivateKeyPem),
		open("ssh_host_ecdsa_key.pub", `${plan.hostPublicKey}\n`),
		open("ssh_host_ecdsa_key-cert.pub", `${plan.hostCertificate}\n`),
		secret("user/env", shellExports(environment)),
		...plan.launchCommands.map((command, n) => secret(`user/launch.${n}`, `${command}\n`)),
		...plan.suspendCommands.map((command, n) => secret(`user/suspend.${n}`, `${command}\n`)),
		...(plan.entrypoint === undefined ? [] : [secret("user/entrypoint", `${plan.entrypoint}\n`)]),
		...(plan.firstStart ? Object.entries(plan.files) : []).flatMap(([path, content], n) => [
			secret(`files/${n}.path`, path),
			secret(`files/${n}.content`, content),
		]),
	];
}

/** The one key that may log in; sshd reads it at each login. */
export function authorizedKeys(publicKey: string): BootFile {
	return { path: "authorized_keys", mode: 0o644, content: `${publicKey}\n` };
}

function bootEnvironment(plan: BootPlan): string {
	return assignments({
		nonce: plan.nonce,
		user: plan.user,
		uid: plan.uid,
		first_start: plan.firstStart ? 1 : 0,
		sets_path: plan.environmentVariables.PATH === undefined ? 0 : 1,
		launch_count: plan.launchCommands.length,
		suspend_count: plan.suspendCommands.length,
		suspend_deadline: plan.suspendDeadlineMs / 1000,
	});
}

function sshdConfig(user: string): string {
	return [
		"ListenAddress 0.0.0.0:22",
		"HostKey /run/gangway/ssh_host_ecdsa_key",
		"HostCertificate /run/gangway/ssh_host_ecdsa_key-cert.pub",
		"AuthorizedKeysFile /run/gangway/authorized_keys",
		"AuthenticationMethods publickey",
		"PubkeyAuthentication yes",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"HostbasedAuthentication no",
		"UsePAM no",
		"PermitRootLogin prohibit-password",
		`AllowUsers ${user}`,
		"LoginGraceTime 30",
		// Every connection comes from this host, so the limits on unauthenticated ones are one pool for all clients.
		"MaxStartups 100:30:500",
		"MaxSessions 1000",
		"X11Forwarding yes",
		"GatewayPorts clientspecified",
		"AcceptEnv LC_* COLORTERM TERM_PROGRAM TERM_PROGRAM_VERSION",
		"Subsystem sftp internal-sftp",
		"UseDNS no",
		"PrintMotd no",
		"PrintLastLog no",
		"PidFile none",
		"LogLevel ERROR",
		"",
	].join("\n");
}

/** Arguments of one `SetEnv` directive: double quotes, in which sshd takes `\"` and `\\`. Line breaks were refused before. */
function sshdSetEnv(variables: Readonly<Record<string, string>>): string {
	return Object.entries(variables)
		.map(([name, value]) => `"${name}=${value.replace(/[\\"]/g, "\\$&")}"`)
		.join(" ");
}

function shellExports(variables: Readonly<Record<string, string>>): string {
	return Object.entries(variables)
		.map(([name, value]) => `export ${name}=${shellQuote(value)}\n`)
		.join("");
}

function assignments(variables: Readonly<Record<string, string | number>>): string {
	return Object.entries(variables)
		.map(([name, value]) => `${name}=${shellQuote(String(value))}\n`)
		.join("");
}

function shellQuote(value: string): string {
	return `'${value.replaceAll("'", "'\\''")}'`;
}
