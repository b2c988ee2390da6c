import type { RuntimeName } from "../runtime/runtime.js";
import type { FailureReason, ShutdownReason, Status } from "./lifecycle.js";

/** One isolated environment, as the rest of the server sees it. Dialects turn it into their views. */
export interface Devbox {
	/** `dbx_` and 26 lowercase base32 characters (a ULID: ids sort by creation). */
	readonly id: string;
	readonly teamId: string;
	/** A user's id. */
	readonly createdBy: string;
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
	/** When it is suspended if it runs then; null: never. */
	readonly expiresAtMs: number | null;
	/** When it is shut down, whatever it does; null: never. */
	readonly hardExpiresAtMs: number | null;
	/** How often it has been started. */
	readonly generation: number;
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
	/** Time of the day, not of running, until it is suspended: from each creation, resume or refresh. 0: none, here and below. */
	readonly ttlSeconds?: number;
	/** The same until it is shut down, from its creation. */
	readonly hardTtlSeconds?: number;
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
	/** With `wakeOnHttp`: requests to a sleeping box are told to retry, or are held until it answers. */
	readonly wakeMode: "retry" | "hold";
	/** `https://app.example`: origins whose pages may call an authenticated tunnel, beside those of its own ports. */
	readonly corsOrigins: readonly string[];
	/** Ports that are reached on the box's loopback when its address refuses them. */
	readonly loopbackPorts: readonly number[];
	/** By port number. */
	readonly portRules: Readonly<Record<string, PortRule>>;
}

/** How one port of a tunnel is served. */
export interface PortRule {
	/** `localhost`: the app sees `Host: localhost:<port>`, for servers that refuse names they do not know. */
	readonly hostHeader: "preserve" | "localhost";
}

export interface Tunnel extends TunnelParams {
	/** 26 lowercase base32 characters. */
	readonly key: string;
	/** Only when authenticated. A secret. */
	readonly token: string | null;
	/** Grows whenever the token changes. */
	readonly generation: number;
	readonly createdAtMs: number;
	/** Neither revoked nor, when it was read, expired; oldest first. */
	readonly shareLinks: readonly ShareLink[];
}

/** Lets its holder in to one port of an authenticated tunnel. */
export interface ShareLink {
	/** `shl_` and 26 lowercase base32 characters. */
	readonly id: string;
	readonly port: number;
	/** Where its URL leads: path and query. */
	readonly path: string;
	readonly createdAtMs: number;
	readonly expiresAtMs: number;
}

/** What a creator of a share link asks for. */
export interface ShareLinkParams {
	readonly port: number;
	readonly path: string;
	readonly expiresInSeconds: number;
}

/** With what its URL is made of. */
export interface NewShareLink extends ShareLink {
	readonly tunnelKey: string;
	/** A secret, shown this once. */
	readonly token: string;
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

/** What the daemon's own SSH client needs to log in to a running box. Never leaves the process. */
export interface SshAccess {
	/** IPv4; sshd listens on port 22 of it. */
	readonly address: string;
	readonly user: string;
	/** SEC1 PEM. */
	readonly privateKeyPem: string;
	/** `ecdsa-sha2-nistp256 <base64>`: the only host key that is the box's. */
	readonly hostPublicKey: string;
}

/** Who asks: an API key's user acting in its team. */
export interface Actor {
	readonly apiKeyId: string;
	readonly userId: string;
	readonly teamId: string;
	/** IP address from which they ask, where that is known. */
	readonly peerAddress?: string;
}
