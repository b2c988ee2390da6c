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
	/** Seconds until somebody has logged in to the gateway. */
	readonly sshLoginGrace: number;
	/** Connections per second of one client address to the gateway; 0 is no limit, here and below. */
	readonly sshAddressRate: number;
	/** Connections per minute of one client address on which no key was good. */
	readonly sshAddressFailures: number;
	/** Of one user, at one time. */
	readonly sshUserConnections: number;
	/** Of one connection, at one time. */
	readonly sshConnectionSessions: number;
	/** Seconds until the head of a request is there. */
	readonly tunnelHeadTimeout: number;
	/** Seconds without a byte of a body. */
	readonly tunnelIdleTimeout: number;
	/** Seconds until the app begins to answer; 0 is none. */
	readonly tunnelResponseTimeout: number;
	/** Of one client address, at one time; 0 is no limit, here and below. */
	readonly tunnelAddressConnections: number;
	readonly tunnelAddressRequests: number;
	/** Requests per second of one client address. */
	readonly tunnelAddressRate: number;
	/** Of one tunnel, at one time. */
	readonly tunnelRequests: number;
	/** Requests per second of one tunnel. */
	readonly tunnelRate: number;
	/** Addresses or CIDR blocks whose X-Forwarded-For is believed. */
	readonly trustedProxies: readonly string[];
	/** Seconds; 0 is none. */
	readonly defaultLifetime: number;
	readonly maxLifetime: number;
	/** Days that audit events are kept; 0 is for ever. */
	readonly auditRetention: number;
	readonly logLevel: "fatal" | "error" | "warn" | "info" | "debug" | "trace" | "silent";
	/** Seconds that open sessions get at SIGTERM. */
	readonly drainTimeout: number;
	/** Confirms that runtime `linux` (for trusted code only) may face a public address. */
	readonly allowTrustedRuntime: boolean;
}
