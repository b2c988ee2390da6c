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
	readonly unit?: "seconds" | "days" | "requests per second" | "connections per second" | "connections per minute";
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
		about: "The SSH gateway. In production 22.",
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
	sshLoginGrace: {
		kind: values.wholeNumber(1, 3_600),
		default: () => 30,
		defaultText: "30",
		unit: "seconds",
		about: "Somebody must have logged in to the SSH gateway after this long; else the connection is closed.",
	},
	sshAddressRate: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 20,
		defaultText: "20",
		unit: "connections per second",
		about:
			"Connections to the SSH gateway that one client address (of IPv6, one /64) may make; ten seconds' worth may come at once, more are told to try again later.",
	},
	sshAddressFailures: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 30,
		defaultText: "30",
		unit: "connections per minute",
		about:
			"Connections of one client address to the SSH gateway on which no key was good; a minute's worth may come at once, then all of its connections are refused until there is room again.",
	},
	sshUserConnections: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 256,
		defaultText: "256",
		about: "Connections to the SSH gateway that one user may have open; more are closed with the reason.",
	},
	sshConnectionSessions: {
		kind: values.wholeNumber(0, 1_000, " (0: none)"),
		default: () => 100,
		defaultText: "100",
		about:
			"Sessions (shells, commands, file transfers) that one connection to the SSH gateway may have open; more are refused. Forwards are not counted.",
	},
	tunnelHeadTimeout: {
		kind: values.wholeNumber(1, 3_600),
		default: () => 30,
		defaultText: "30",
		unit: "seconds",
		about: "A request's head, the API's too, must have arrived after this long; else 408.",
	},
	tunnelIdleTimeout: {
		kind: values.wholeNumber(1, 2_147_483),
		default: () => 300,
		defaultText: "300",
		unit: "seconds",
		about:
			"A tunnel request is ended when no byte of its body or of its response's has moved for this long; that also ends a silent event stream. WebSockets may be silent.",
	},
	tunnelResponseTimeout: {
		kind: values.wholeNumber(0, 2_147_483, " (0: none)"),
		default: () => 0,
		defaultText: "0",
		unit: "seconds",
		about: "The app must begin its answer to a complete tunnel request within this long; else 504.",
	},
	tunnelAddressConnections: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 1_024,
		defaultText: "1024",
		about:
			"Connections that one client address (of IPv6, one /64) may have open; a tunnel answers more with 429, and beyond twice as many they are closed at once. Trusted proxies are not limited.",
	},
	tunnelAddressRequests: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 1_024,
		defaultText: "1024",
		about:
			"Tunnel requests and WebSockets that one client address may have under way; more get 429. Behind a proxy that is not in trusted_proxies all clients are one address.",
	},
	tunnelAddressRate: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 0,
		defaultText: "0",
		unit: "requests per second",
		about:
			"Tunnel requests that one client address may make, those with wrong tokens included; ten seconds' worth may come at once, more get 429.",
	},
	tunnelRequests: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 4_096,
		defaultText: "4096",
		about:
			"Requests and WebSockets that one tunnel may have under way, from all clients together; more get 429. Only those that may pass count.",
	},
	tunnelRate: {
		kind: values.wholeNumber(0, 1_000_000, " (0: none)"),
		default: () => 0,
		defaultText: "0",
		unit: "requests per second",
		about:
			"Requests that one tunnel takes, from all clients together; ten seconds' worth may come at once, more get 429.",
	},
	trustedProxies: {
		kind: values.listOf(values.network),
		default: () => Object.freeze([]),
		defaultText: "none",
		about:
			"Proxies whose X-Forwarded-For is believed, also where clients are counted. An address too many lets its users forge theirs.",
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
	auditRetention: {
		kind: values.wholeNumber(0, 36_500, " (0: for ever)"),
		default: () => 90,
		defaultText: "90",
		unit: "days",
		about: "Audit events are deleted when they are older.",
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
