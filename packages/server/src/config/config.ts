/** The daemon's settings after loading: complete, checked, frozen. */
export interface Config {
	/** Absolute path. Holds the database, keys, certificates and the disks of `linux` boxes. */
	readonly dataDir: string;
	readonly domain: string;
	/** The one IP address to listen on; `::` is every address, IPv4 too. */
	readonly bind: string;
	readonly tlsPort: number;
	readonly httpPort: number;
	readonly sshPort: number;
	/** Host that is advertised for ssh and `openssl s_client -connect`. */
	readonly sshHost: string;
	/** PEM files, both or neither. */
	readonly tlsCert: string | undefined;
	readonly tlsKey: string | undefined;
	readonly httpMode: "serve" | "redirect";
	/** More host names that the API answers. */
	readonly apiHosts: readonly string[];
	readonly runtime: "auto" | "linux" | "docker" | "kubernetes";
	/** `sqlite:<absolute path>`. */
	readonly databaseUrl: string;
	/** One or several keys, see `parseMasterKeys`. */
	readonly masterKey: string | undefined;
	readonly adminApiKey: string | undefined;
	/** Seconds without a byte after which an SSH connection is closed. */
	readonly sshIdleTimeout: number;
	/** Addresses or CIDR blocks whose X-Forwarded-For is believed. */
	readonly trustedProxies: readonly string[];
	/** Seconds; 0 is none. */
	readonly defaultLifetime: number;
	readonly maxLifetime: number;
	readonly logLevel: "fatal" | "error" | "warn" | "info" | "debug" | "trace" | "silent";
	/** Seconds that open sessions get at SIGTERM. */
	readonly drainTimeout: number;
	/** Confirms that runtime `linux` (for trusted code only) may face a public address. */
	readonly allowTrustedRuntime: boolean;
}
