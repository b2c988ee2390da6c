import { expect, test } from "vitest";
import { SettingError } from "../errors.js";
import { directoryWith, errorLine, load } from "./config.fixture.js";
import { nameAsGiven } from "./load.js";

const port = "allowed: a whole number from 0 to 65535 (0: any free port)";
const name = "allowed: a DNS name of up to 213 characters, such as boxes.example.com (international names as xn--…)";

test.each<[Record<string, string | boolean>, string]>([
	[{ tlsPort: "99999" }, `--tls-port: "99999" is not allowed; ${port}`],
	[{ tlsPort: "-1" }, `--tls-port: "-1" is not allowed; ${port}`],
	[{ tlsPort: "443 " }, `--tls-port: "443 " is not allowed; ${port}`],
	[{ tlsPort: "0x1bb" }, `--tls-port: "0x1bb" is not allowed; ${port}`],
	[{ tlsPort: "" }, `--tls-port: "" is not allowed; ${port}`],
	[{ tlsPort: "1\nready" }, `--tls-port: "1\\nready" is not allowed; ${port}`],
	[{ runtime: "dokcer" }, '--runtime: "dokcer" is not allowed; allowed: auto, linux, docker, kubernetes'],
	[{ allowTrustedRuntime: "maybe" }, '--allow-trusted-runtime: "maybe" is not allowed; allowed: true, false'],
	[{ dataDir: "" }, '--data-dir: "" is not allowed; allowed: a path'],
	[{ domain: "10.0.0.1" }, `--domain: "10.0.0.1" is not allowed; ${name}`],
	[{ domain: "example.com." }, `--domain: "example.com." is not allowed; ${name}`],
	[{ domain: "-a.com" }, `--domain: "-a.com" is not allowed; ${name}`],
	[{ domain: "bücher.de" }, `--domain: "bücher.de" is not allowed; ${name}`],
	[{ domain: "https://a.com" }, `--domain: "https://a.com" is not allowed; ${name}`],
	[{ domain: "a".repeat(64) }, `--domain: "${"a".repeat(64)}" is not allowed; ${name}`],
	[{ bind: "localhost" }, '--bind: "localhost" is not allowed; allowed: an IPv4 or IPv6 address without a zone'],
	[
		{ sshHost: "example.com:22" },
		'--ssh-host: "example.com:22" is not allowed; allowed: a DNS name or an IP address, without a port',
	],
	[
		{ trustedProxies: "10.0.0.0/8,10.0.0.0/33" },
		'--trusted-proxies: "10.0.0.0/8,10.0.0.0/33" is not allowed; allowed: a list separated by commas, each an IP address or a CIDR block such as 10.0.0.0/8',
	],
	[{ sshIdleTimeout: "0" }, '--ssh-idle-timeout: "0" is not allowed; allowed: a whole number from 1 to 2147483'],
	[
		{ tunnelAddressRate: "1.5" },
		'--tunnel-address-rate: "1.5" is not allowed; allowed: a whole number from 0 to 1000000 (0: none)',
	],
])("flags %j", (flags, expected) => {
	expect(errorLine(() => load({ flags }))).toBe(expected);
});

test.each<[Record<string, string>, string]>([
	[{ GANGWAY_TLS_PORT: "x" }, `GANGWAY_TLS_PORT: "x" is not allowed; ${port}`],
	[{ GANGWAY_TLS_PORT: "tcp://10.0.0.1:443" }, `GANGWAY_TLS_PORT: "tcp://10.0.0.1:443" is not allowed; ${port}`],
	[
		{ GANGWAY_MASTER_KEY: "hunter2" },
		"GANGWAY_MASTER_KEY: the value (not shown) is not allowed; allowed: base64 or hex of 32 bytes, as `openssl rand -base64 32` prints; several separated by commas, the current one first",
	],
	[
		{ GANGWAY_ADMIN_API_KEY: "hunter2" },
		"GANGWAY_ADMIN_API_KEY: the value (not shown) is not allowed; allowed: 20 to 256 letters, digits or ._~+/-=",
	],
	[
		{ GANGWAY_DATABASE_URL: "postgres://gangway:hunter2@db/gangway" },
		"GANGWAY_DATABASE_URL: the value (not shown) names PostgreSQL, which is not available yet; allowed: sqlite:<path> or unset",
	],
	[
		{ GANGWAY_DATABASE_URL: "mysql://gangway:hunter2@db" },
		"GANGWAY_DATABASE_URL: the value (not shown) is not allowed; allowed: sqlite:<path> or unset",
	],
	[{ GANGWAY_TLS_PROT: "1" }, "GANGWAY_TLS_PROT: unknown variable; did you mean GANGWAY_TLS_PORT?"],
	[{ GANGWAY_DATADIR: "/x" }, "GANGWAY_DATADIR: unknown variable; did you mean GANGWAY_DATA_DIR?"],
])("environment %j", (env, expected) => {
	expect(errorLine(() => load({ env }))).toBe(expected);
});

test.each<[string, string]>([
	["tls_port: x", `tls_port in <dir>/gangway.yaml: "x" is not allowed; ${port}`],
	["tls_port:", `tls_port in <dir>/gangway.yaml: "" is not allowed; ${port}`],
	["tls_port: [1, 2]", `tls_port in <dir>/gangway.yaml: "1,2" is a list; ${port}`],
	[
		"tls_port: {a: 1}",
		"tls_port in <dir>/gangway.yaml: not a plain value; allowed: key: value, or key: [value, value]",
	],
	[
		"allow_trusted_runtime: yes",
		'allow_trusted_runtime in <dir>/gangway.yaml: "yes" is not allowed; allowed: true, false',
	],
	["tls_prot: 1", "tls_prot in <dir>/gangway.yaml: unknown key; did you mean tls_port?"],
	["tlsPort: 1", "tlsPort in <dir>/gangway.yaml: unknown key; did you mean tls_port?"],
	[
		"master_key: hunter2\nmaster_key: x",
		"<dir>/gangway.yaml: line 2: duplicate key; allowed: YAML lines of the form key: value",
	],
	["domain: [", "<dir>/gangway.yaml: line 1: bad indent; allowed: YAML lines of the form key: value"],
	["master_key=hunter2", "<dir>/gangway.yaml: no settings; allowed: YAML lines of the form key: value"],
])("file %j", (yaml, expected) => {
	const cwd = directoryWith(yaml);
	expect(errorLine(() => load({ cwd }), cwd)).toBe(expected);
});

test("an unknown setting that is like nothing gets the list", () => {
	expect(errorLine(() => load({ env: { GANGWAY_COLOUR: "red" } }))).toMatch(
		/^GANGWAY_COLOUR: unknown variable; allowed: GANGWAY_DATA_DIR, GANGWAY_DOMAIN, .*, GANGWAY_ALLOW_TRUSTED_RUNTIME$/,
	);
	expect(errorLine(() => load({ flags: { tlsPrt: "1" } }))).toBe("--tls-prt: unknown flag; did you mean --tls-port?");
});

test("a file that was named must be there, and be readable", () => {
	const cwd = directoryWith();
	const line = (config: string | true) => errorLine(() => load({ cwd, flags: { config } }), cwd);
	expect(line("my.yaml")).toBe('--config: "<dir>/my.yaml" cannot be read (ENOENT); allowed: a readable YAML file');
	expect(line(".")).toBe('--config: "<dir>" cannot be read (EISDIR); allowed: a readable YAML file');
	expect(line("")).toBe("--config: needs a value; allowed: the path of a YAML file");
	expect(line(true)).toBe("--config: needs a value; allowed: the path of a YAML file");
});

test.each<[Record<string, string>, string]>([
	[
		{ tlsCert: "/c.pem" },
		'--tls-cert: "/c.pem" is set without tls_key; allowed: both of tls_cert and tls_key, or neither',
	],
	[
		{ tlsKey: "/k.pem" },
		'--tls-key: "/k.pem" is set without tls_cert; allowed: both of tls_cert and tls_key, or neither',
	],
	[
		{ maxLifetime: "60", defaultLifetime: "61" },
		'--default-lifetime: "61" is more than max_lifetime; allowed: 0 (none) to 60 seconds',
	],
	[{ tlsPort: "7022" }, '--tls-port: "7022" is also ssh_port; allowed: a port of its own, or 0 (any free port)'],
	[
		{ apiHosts: "a.com,x.tunnel.gangway.localhost" },
		'--api-hosts: "a.com,x.tunnel.gangway.localhost" holds a name of tunnels or SSH; allowed: names not under tunnel.gangway.localhost or ssh.gangway.localhost',
	],
	[
		{ runtime: "linux", bind: "10.0.0.1" },
		'--bind: "10.0.0.1" can be reached from outside, and the runtime linux is for trusted code only (its devboxes share the host\'s kernel and files); allowed: a loopback address, another runtime, or --allow-trusted-runtime',
	],
	[
		{ runtime: "linux", domain: "example.com" },
		'bind: "::" can be reached from outside, and the runtime linux is for trusted code only (its devboxes share the host\'s kernel and files); allowed: a loopback address, another runtime, or --allow-trusted-runtime',
	],
])("together %j", (flags, expected) => {
	expect(errorLine(() => load({ flags }))).toBe(expected);
});

test("a setting is named as it was given, also where only its key is known", () => {
	const error = new SettingError("tls_port", "port 443 is taken");
	const named = (options: Parameters<typeof load>[0], cwd?: string) =>
		errorLine(() => {
			throw nameAsGiven(error, load(options));
		}, cwd);
	expect(named({})).toBe("tls_port: port 443 is taken");
	expect(named({ env: { GANGWAY_TLS_PORT: "443" } })).toBe("GANGWAY_TLS_PORT: port 443 is taken");
	expect(named({ env: { GANGWAY_TLS_PORT: "443" }, flags: { tlsPort: "443" } })).toBe("--tls-port: port 443 is taken");
	const cwd = directoryWith("tls_port: 443");
	expect(named({ cwd }, cwd)).toBe("tls_port in <dir>/gangway.yaml: port 443 is taken");
});

test("every error is one line", () => {
	const lines = [
		errorLine(() => load({ flags: { domain: `a\r\n${"b".repeat(10_000)}` } })),
		errorLine(() => load({ yaml: "domain: |\n  a\n  b\n" })),
		errorLine(() => load({ yaml: '"a\\nb": 1' })),
	];
	for (const line of lines) {
		expect(line).not.toBe("no error");
		expect(line).not.toMatch(/[\r\n]/);
		expect(line.length).toBeLessThan(1_000);
	}
});
