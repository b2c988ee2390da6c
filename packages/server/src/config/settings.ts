import { join } from "node:path";
import type { Config } from "./config.js";
import * as values from "./values.js";

/** What defaults depend on beside other settings. */
export interface Host {
	readonly uid: number;
	readonly home: string;
	readonly hasIpv6: boolean;
}

export interface Setting<T> {
	readonly kind: values.Kind<T>;
	/** Sees the settings that stand before it in the table. */
	readonly default: (config: Config, host: Host) => T;
	/** The default in words or as written. */
	readonly defaultText: string;
	readonly unit?: "seconds";
	/** What it does and what follows from it. */
	readonly about: string;
}

export type SettingKey = keyof Config;

/** Every setting, declared here and nowhere else: loading, flags, help and docs/configuration.md come from this table. */
export const settings: { readonly [K in SettingKey]: Setting<Config[K]> } = {
	dataDir: {
		kind: values.path,
		default: (_, host) => (host.uid === 0 ? "/var/lib/gangway" : join(host.home, ".local/share/gangway")),
		defaultText: "/var/lib/gangway for root, else ~/.local/share/gangway",
		about:
			"Holds the database, keys, certificates and the disks of linux devboxes. Back it up; one daemon may use it at a time.",
	},
	domain: {
		kind: values.domainName,
		default: () => "gangway.localhost",
		defaultText: "gangway.localhost",
		about:
			"API at api.<domain>, tunnels at *.tunnel.<domain>, SSH at *.ssh.<domain>. A name under .localhost works on this machine only. All tunnels are one site to a browser: give them a registrable domain of their own.",
	},
	bind: {
		kind: values.address,
		default: (config, host) => (isLocalDomain(config.domain) ? "127.0.0.1" : host.hasIpv6 ? "::" : "0.0.0.0"),
		defaultText: "127.0.0.1 for a domain under .localhost, else :: (every address; 0.0.0.0 without IPv6)",
		about: "Address to listen on. Beyond loopback, others can reach the API, the tunnels and SSH.",
	},
	tlsPort: {
		kind: values.port,
		default: () => 7443,
		defaultText: "7443",
		about: "API, tunnels and SSH over TLS. In production 443; the official CLI insists on it.",
	},
	httpPort: {
		kind: values.port,
		default: () => 7080,
		defaultText: "7080",
		about: "Plain HTTP. In production 80.",
	},
	sshPort: {
		kind: values.port,
		default: () => 7022,
		defaultText: "7022",
		about: "Kept for plain SSH (22 in production), which is not there yet: nothing listens on it.",
	},
	sshHost: {
		kind: values.host,
		default: (config) => (isLocalDomain(config.domain) ? "127.0.0.1" : `ssh.${config.domain}`),
		defaultText: "127.0.0.1 for a domain under .localhost, else ssh.<domain>",
		about: "Host that Gangway prints and advertises for ssh; it must lead to this daemon.",
	},
	tlsCert: {
		kind: values.optional(values.path),
		default: () => undefined,
		defaultText: "none: a local CA makes certificates",
		about: "PEM file of the certificate chain; needs tls_key. Read again when it changes.",
	},
	tlsKey: {
		kind: values.optional(values.path),
		default: () => undefined,
		defaultText: "none",
		about: "PEM file of the certificate's private key; needs tls_cert.",
	},
	httpMode: {
		kind: values.oneOf("serve", "redirect"),
		default: (config) => (isLocalDomain(config.domain) ? "serve" : "redirect"),
		defaultText: "serve for a domain under .localhost, else redirect",
		about:
			"What the plain HTTP port does. serve is also for a proxy in front that ends TLS; keys and cookies then cross that network in the clear.",
	},
	apiHosts: {
		kind: values.listOf(values.host),
		default: () => Object.freeze([]),
		defaultText: "none",
		about:
			"More host names that the API answers, beside <domain>, api.<domain>, localhost and addresses. All others get 421.",
	},
	runtime: {
		kind: values.oneOf("auto", "linux", "docker", "kubernetes"),
		default: () => "auto",
		defaultText: "auto",
		about:
			"What runs new devboxes; a devbox keeps its own. auto is docker where an engine answers, else linux, which is for trusted code.",
	},
	databaseUrl: {
		kind: values.databaseUrl,
		default: (config) => `sqlite:${join(config.dataDir, "gangway.db")}`,
		defaultText: "sqlite:<data_dir>/gangway.db",
		about: "Where the state is kept. Only SQLite on a local disk for now.",
	},
	masterKey: {
		kind: values.optional(values.masterKey),
		default: () => undefined,
		defaultText: "<data_dir>/master.key, made at the first start",
		about:
			"Seals every stored secret; without it they are lost. A flag shows it to every user of the machine: prefer the variable.",
	},
	adminApiKey: {
		kind: values.optional(values.apiKey),
		default: () => undefined,
		defaultText: "<data_dir>/admin.key, made at the first start",
		about:
			"API key of the user admin; another value replaces the former key. A flag shows it to every user of the machine: prefer the variable.",
	},
	sshIdleTimeout: {
		kind: values.wholeNumber(1, 2_147_483),
		default: () => 900,
		defaultText: "900",
		unit: "seconds",
		about: "An SSH connection without a byte for this long is closed; ServerAliveInterval counts as bytes.",
	},
	trustedProxies: {
		kind: values.listOf(values.network),
		default: () => Object.freeze([]),
		defaultText: "none",
		about: "Proxies whose X-Forwarded-For is believed. An address too many lets its users forge theirs.",
	},
	defaultLifetime: {
		kind: values.wholeNumber(0, 315_360_000, " (0: none)"),
		default: () => 0,
		defaultText: "0",
		unit: "seconds",
		about: "Running time after which a devbox ends when its creator asked for nothing.",
	},
	maxLifetime: {
		kind: values.wholeNumber(0, 315_360_000, " (0: none)"),
		default: () => 0,
		defaultText: "0",
		unit: "seconds",
		about: "The longest running time that a creator may ask for.",
	},
	logLevel: {
		kind: values.oneOf("fatal", "error", "warn", "info", "debug", "trace", "silent"),
		default: () => "info",
		defaultText: "info",
		about: "What is logged, as JSON lines. No level logs secrets.",
	},
	drainTimeout: {
		kind: values.wholeNumber(0, 3_600),
		default: () => 10,
		defaultText: "10",
		unit: "seconds",
		about: "What open sessions get to finish at SIGTERM; then they are cut. Devboxes run on.",
	},
	allowTrustedRuntime: {
		kind: values.trueOrFalse,
		default: () => false,
		defaultText: "false",
		about:
			"Lets the runtime linux face more than loopback. Its devboxes share the host's kernel and files: for trusted code only.",
	},
};

export const settingKeys = Object.freeze(Object.keys(settings)) as readonly SettingKey[];

/** `tlsPort` is `tls_port` in the file, ... */
export function fileKey(key: string): string {
	return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** ... `GANGWAY_TLS_PORT` in the environment ... */
export function variable(key: string): string {
	return `GANGWAY_${fileKey(key).toUpperCase()}`;
}

/** ... and `--tls-port` on the command line. */
export function flag(key: string): string {
	return `--${fileKey(key).replaceAll("_", "-")}`;
}

/** Such names lead to loopback (RFC 6761, section 6.3), so nobody else can reach or spoof them. */
export function isLocalDomain(domain: string): boolean {
	return domain === "localhost" || domain.endsWith(".localhost");
}
