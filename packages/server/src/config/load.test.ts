import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { directoryWith, load } from "./config.fixture.js";

test("the defaults are those of a laptop: loopback, rare ports, nothing shared", () => {
	expect(load()).toEqual({
		dataDir: "/var/lib/gangway",
		domain: "gangway.localhost",
		bind: "127.0.0.1",
		tlsPort: 7443,
		httpPort: 7080,
		sshPort: 7022,
		sshHost: "127.0.0.1",
		tlsCert: undefined,
		tlsKey: undefined,
		httpMode: "serve",
		apiHosts: [],
		runtime: "auto",
		databaseUrl: "sqlite:/var/lib/gangway/gangway.db",
		masterKey: undefined,
		adminApiKey: undefined,
		sshIdleTimeout: 900,
		sshLoginGrace: 30,
		sshAddressRate: 20,
		sshAddressFailures: 30,
		sshUserConnections: 256,
		sshConnectionSessions: 100,
		tunnelHeadTimeout: 30,
		tunnelIdleTimeout: 300,
		tunnelResponseTimeout: 0,
		tunnelAddressConnections: 1024,
		tunnelAddressRequests: 1024,
		tunnelAddressRate: 0,
		tunnelRequests: 4096,
		tunnelRate: 0,
		trustedProxies: [],
		defaultLifetime: 0,
		maxLifetime: 0,
		auditRetention: 90,
		logLevel: "info",
		drainTimeout: 10,
		allowTrustedRuntime: false,
	});
});

test("a public domain listens everywhere, redirects HTTP and advertises its own name", () => {
	const public_ = load({ flags: { domain: "Boxes.Example.com" } });
	expect(public_).toMatchObject({
		domain: "boxes.example.com",
		bind: "::",
		httpMode: "redirect",
		sshHost: "ssh.boxes.example.com",
	});
	const host = { uid: 0, home: "/root", hasIpv6: false };
	expect(load({ flags: { domain: "example.com" }, host }).bind).toBe("0.0.0.0");
});

test("without root the data lies in the home directory", () => {
	const host = { uid: 1000, home: "/home/ada", hasIpv6: true };
	expect(load({ host }).dataDir).toBe("/home/ada/.local/share/gangway");
});

test("flags stand before the environment, the environment before the file", () => {
	const yaml = "tls_port: 1\nhttp_port: 2\nssh_port: 3\n";
	const env = { GANGWAY_TLS_PORT: "11", GANGWAY_HTTP_PORT: "12" };
	expect(load({ yaml, env, flags: { tlsPort: "21" } })).toMatchObject({ tlsPort: 21, httpPort: 12, sshPort: 3 });
});

test("an overridden value need not be right", () => {
	expect(load({ env: { GANGWAY_TLS_PORT: "many" }, flags: { tlsPort: "1" } }).tlsPort).toBe(1);
});

test("an empty variable is an unset one", () => {
	expect(load({ env: { GANGWAY_TLS_CERT: "", GANGWAY_DOMAIN: "" } })).toMatchObject({
		tlsCert: undefined,
		domain: "gangway.localhost",
	});
});

test("variables that Kubernetes makes for a service named gangway, and the client's own, are no settings", () => {
	const env = {
		GANGWAY_SERVICE_HOST: "10.0.0.1",
		GANGWAY_SERVICE_PORT: "443",
		GANGWAY_SERVICE_PORT_HTTPS: "443",
		GANGWAY_PORT: "tcp://10.0.0.1:443",
		GANGWAY_PORT_443_TCP: "tcp://10.0.0.1:443",
		GANGWAY_PORT_443_TCP_PROTO: "tcp",
		GANGWAY_PORT_443_TCP_PORT: "443",
		GANGWAY_PORT_443_TCP_ADDR: "10.0.0.1",
		GANGWAY_WEB_SERVICE_HOST: "10.0.0.2",
		GANGWAY_API_KEY: "gw_client",
		GANGWAY_API_URL: "https://api.example.com",
		PATH: "/bin",
	};
	expect(load({ env })).toEqual(load());
});

test("every kind of value comes from the file", () => {
	const config = load({
		yaml: [
			"domain: example.com",
			"bind: 127.0.0.1",
			"tls_port: 443",
			"http_port: '80'",
			"ssh_port: 0",
			"http_mode: serve",
			"api_hosts: [gangway, 'box.lan']",
			"trusted_proxies:",
			"  - 10.0.0.0/8",
			"  - ::1",
			"allow_trusted_runtime: true",
			"max_lifetime: 3600 # an hour",
			"default_lifetime: 3600",
			"log_level: debug",
		].join("\n"),
	});
	expect(config).toMatchObject({
		domain: "example.com",
		tlsPort: 443,
		httpPort: 80,
		sshPort: 0,
		httpMode: "serve",
		apiHosts: ["gangway", "box.lan"],
		trustedProxies: ["10.0.0.0/8", "::1"],
		allowTrustedRuntime: true,
		maxLifetime: 3600,
		logLevel: "debug",
	});
});

test("an empty file and an empty list are fine", () => {
	expect(load({ yaml: "" })).toEqual(load());
	expect(load({ yaml: "# nothing yet\n" })).toEqual(load());
	expect(load({ yaml: "api_hosts: []" })).toEqual(load());
});

test("relative paths count from the file that names them, else from the working directory", () => {
	const cwd = directoryWith();
	mkdirSync(join(cwd, "etc"));
	writeFileSync(join(cwd, "etc", "my.yaml"), "tls_cert: cert.pem\ntls_key: /keys/key.pem\ndatabase_url: sqlite:x.db\n");
	expect(load({ cwd, flags: { config: "etc/my.yaml", dataDir: "data" } })).toMatchObject({
		tlsCert: join(cwd, "etc/cert.pem"),
		tlsKey: "/keys/key.pem",
		databaseUrl: `sqlite:${join(cwd, "etc/x.db")}`,
		dataDir: join(cwd, "data"),
	});
});

test("the database lies in the data directory unless it is named", () => {
	expect(load({ flags: { dataDir: "/data" } }).databaseUrl).toBe("sqlite:/data/gangway.db");
	expect(load({ env: { GANGWAY_DATABASE_URL: "sqlite:///srv/x.db" } }).databaseUrl).toBe("sqlite:/srv/x.db");
});

test("three ports may all be any free port", () => {
	const flags = { tlsPort: "0", httpPort: "0", sshPort: "0" };
	expect(load({ flags })).toMatchObject({ tlsPort: 0, httpPort: 0, sshPort: 0 });
});

test("secrets are taken as they are", () => {
	const key = Buffer.alloc(32, 1);
	const masterKey = `${key.toString("base64")},${key.toString("hex")}`;
	const env = { GANGWAY_MASTER_KEY: masterKey, GANGWAY_ADMIN_API_KEY: "gw_0123456789abcdefgh" };
	expect(load({ env })).toMatchObject({ masterKey, adminApiKey: "gw_0123456789abcdefgh" });
});

test("the file's values are taken as written, not as YAML numbers", () => {
	expect(load({ yaml: "admin_api_key: 12345678901234567891\n" }).adminApiKey).toBe("12345678901234567891");
});

test("the result cannot be changed", () => {
	const config = load({ flags: { apiHosts: "a,b" } });
	expect(Object.isFrozen(config)).toBe(true);
	expect(Object.isFrozen(config.apiHosts)).toBe(true);
	expect(Object.isFrozen(config.trustedProxies)).toBe(true);
});
