import type { RuntimeName } from "../runtime/runtime.js";
import type { FailureReason, ShutdownReason, Status } from "./lifecycle.js";

/** One isolated environment, as the rest of the server sees it. Dialects turn it into their views. */
export interface Devbox {
	/** `dbx_` and 26 lowercase base32 characters (a ULID: ids sort by creation). */
	readonly id: string;
	readonly teamId: string;
	readonly name: string | null;
	readonly status: Status;
	readonly runtime: RuntimeName;
	readonly launchParameters: LaunchParameters;
	readonly metadata: Readonly<Record<string, string>>;
	readonly sshUser: string;
	readonly transitions: readonly Transition[];
	readonly failureReason: FailureReason | null;
	readonly shutdownReason: ShutdownReason | null;
	readonly createdAtMs: number;
	readonly endedAtMs: number | null;
	readonly tunnel: Tunnel | null;
}

export interface Transition {
	readonly status: Status;
	readonly atMs: number;
	readonly failureReason: FailureReason | null;
}

/** What a creator may ask for. `undefined` is "not asked": the view then leaves it out too. */
export interface LaunchParameters {
	readonly keepAliveTimeSeconds?: number;
	readonly launchCommands?: readonly string[];
	readonly user?: { readonly username: string; readonly uid: number };
	readonly size?: ResourceSize;
	/** With size CUSTOM_SIZE. */
	readonly customCpuCores?: number;
	readonly customGbMemory?: number;
	readonly customDiskSize?: number;
	readonly afterIdle?: AfterIdle;
	readonly resumeTriggers?: { readonly http?: boolean; readonly ssh?: boolean };
	readonly suspendHooks?: { readonly commands: readonly string[]; readonly deadlineMs: number };
	readonly architecture?: string;
}

export interface AfterIdle {
	readonly idleTimeSeconds: number;
	readonly onIdle: "suspend" | "shutdown";
}

export type ResourceSize = "X_SMALL" | "SMALL" | "MEDIUM" | "LARGE" | "X_LARGE" | "XX_LARGE" | "CUSTOM_SIZE";

export interface TunnelParams {
	readonly authMode: "open" | "authenticated";
	readonly httpKeepAlive: boolean;
	readonly wakeOnHttp: boolean;
}

export interface Tunnel extends TunnelParams {
	/** 26 lowercase base32 characters. */
	readonly key: string;
	/** Only when authenticated. A secret. */
	readonly token: string | null;
	readonly createdAtMs: number;
}

/** Everything `Devboxes.create` takes. The dialects have checked shapes; `Devboxes` checks meaning. */
export interface CreateParams {
	readonly name?: string;
	readonly metadata?: Readonly<Record<string, string>>;
	readonly entrypoint?: string;
	readonly environmentVariables?: Readonly<Record<string, string>>;
	/** Path (absolute, or relative to the user's home) to content, written before the launch commands of the first start. */
	readonly files?: Readonly<Record<string, string>>;
	readonly launchParameters?: LaunchParameters;
	readonly tunnel?: TunnelParams;
}

/** What a log line is about. */
export interface LogEntry {
	readonly timestampMs: number;
	readonly level: "info" | "error";
	readonly source: "setup_commands" | "entrypoint";
	readonly message?: string;
	/** The command, in the entry that starts it. */
	readonly cmd?: string;
	/** In the entry that ends a command. */
	readonly exitCode?: number;
}

export interface SshKey {
	/** SEC1 PEM, `EC PRIVATE KEY`. */
	readonly privateKeyPem: string;
	readonly sshUser: string;
	/** SNI and host name of the passthrough: `dbx-….ssh.<domain>`. */
	readonly hostname: string;
}

/** Who asks: an API key's user acting in its team. */
export interface Actor {
	readonly apiKeyId: string;
	readonly userId: string;
	readonly teamId: string;
}
