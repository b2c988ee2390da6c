/** The proxies that are compared. Each listens plain and with TLS, and forwards `/` to the upstream, `/ws` and `/events` to the live one. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts, type Started, startProcess } from "./process.js";
import type { World } from "./world.js";

export interface RunningPeer {
	readonly plainPort: number;
	readonly tlsPort: number;
	/** Sent with each request. */
	readonly host: string;
	/** The authority for `/ws` and `/events`, where it is another one. */
	readonly liveHost: string;
	/** Further request fields, such as a credential. */
	readonly fields: readonly string[];
	readonly pid: number;
	stop(): Promise<void>;
}

export interface Peer {
	readonly name: string;
	/** Undefined where it is not installed. */
	start(world: World): Promise<RunningPeer | undefined>;
}

/** The fields that our tunnel sets: everybody sets the same. */
const NGINX_FIELDS = [
	"Host $http_host",
	'Connection ""',
	"X-Request-Id $request_id",
	"X-Forwarded-For $remote_addr",
	"X-Real-IP $remote_addr",
	"X-Forwarded-Proto $scheme",
];

function nginxConfig(world: World, plain: number, tls: number): string {
	const { dir } = world;
	const set = NGINX_FIELDS.map((field) => `proxy_set_header ${field};`).join(" ");
	const setLive = set.replace(
		'Connection ""',
		"Connection $upgrade_connection; proxy_set_header Upgrade $http_upgrade",
	);
	return `daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 19000; multi_accept on; }
http {
	access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 300s; keepalive_requests 1000000000;
	client_max_body_size 0; client_body_buffer_size 256k; client_header_buffer_size 4k;
	client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
	proxy_http_version 1.1; proxy_request_buffering off; proxy_max_temp_file_size 0; proxy_read_timeout 300s;
	proxy_buffer_size 32k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
	map $http_upgrade $upgrade_connection { default upgrade; "" ""; }
	upstream box { server ${world.upstreamHost}:${world.upstreamPort}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 300s; }
	upstream live { server ${world.upstreamHost}:${world.livePort}; }
	ssl_certificate ${world.certificate}; ssl_certificate_key ${world.key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;
	server {
		listen 127.0.0.1:${plain} backlog=4096; listen 127.0.0.1:${tls} ssl http2 backlog=4096;
		location / { proxy_pass http://box; ${set} }
		location /ws { proxy_pass http://live; ${setLive} }
		location /up { proxy_pass http://live; ${set} }
		location /events { proxy_buffering off; proxy_pass http://live; ${setLive} }
	}
}
`;
}

const nginx: Peer = {
	name: "nginx",
	start: async (world) => {
		const config = join(world.dir, "nginx.conf");
		return await program(["/usr/sbin/nginx"], (plain, tls) => {
			writeFileSync(config, nginxConfig(world, plain, tls));
			return ["-c", config, "-p", world.dir, "-e", join(world.dir, "nginx.log")];
		});
	},
};

function haproxyConfig(world: World, plain: number, tls: number): string {
	return `global
	nbthread 1
	maxconn 9000
defaults
	mode http
	timeout connect 10s
	timeout client 300s
	timeout server 300s
	timeout tunnel 300s
	option http-keep-alive
	http-reuse always
frontend f
	bind 127.0.0.1:${plain} backlog 4096
	bind 127.0.0.1:${tls} backlog 4096 ssl crt ${world.dir}/both.pem alpn h2,http/1.1
	http-request set-header X-Request-Id %[uuid()]
	http-request set-header X-Forwarded-For %[src]
	http-request set-header X-Real-IP %[src]
	http-request set-header X-Forwarded-Proto http
	use_backend live if { path /ws } || { path /up } || { path /events }
	default_backend box
backend box
	server s ${world.upstreamHost}:${world.upstreamPort} pool-max-conn 1024
backend live
	server s ${world.upstreamHost}:${world.livePort}
`;
}

const haproxy: Peer = {
	name: "haproxy",
	start: async (world) => {
		const config = join(world.dir, "haproxy.cfg");
		const { readFileSync } = await import("node:fs");
		writeFileSync(
			join(world.dir, "both.pem"),
			readFileSync(world.certificate, "utf8") + readFileSync(world.key, "utf8"),
		);
		return await program(["/usr/sbin/haproxy"], (plain, tls) => {
			writeFileSync(config, haproxyConfig(world, plain, tls));
			return ["-f", config, "-db"];
		});
	},
};

function caddyConfig(world: World, plain: number, tls: number): string {
	const live = (path: string) => `	handle ${path} {
		reverse_proxy ${world.upstreamHost}:${world.livePort} {
			flush_interval -1
		}
	}`;
	const site = `	bind 127.0.0.1
${live("/ws")}
${live("/up")}
${live("/events")}
	handle {
		reverse_proxy ${world.upstreamHost}:${world.upstreamPort} {
			header_up X-Request-Id {http.request.uuid}
			header_up X-Forwarded-For {remote_host}
			header_up X-Real-IP {remote_host}
			transport http {
				keepalive 300s
				keepalive_idle_conns 1024
				keepalive_idle_conns_per_host 1024
				compression off
			}
		}
	}`;
	return `{
	admin off
	auto_https off
	log {
		output discard
	}
}
http://:${plain} {
${site}
}
https://:${tls} {
	tls ${world.certificate} ${world.key}
${site}
}
`;
}

const caddy: Peer = {
	name: "caddy",
	start: async (world) => {
		const config = join(world.dir, "Caddyfile");
		const env = { GOMAXPROCS: "1", HOME: world.dir, XDG_DATA_HOME: world.dir, XDG_CONFIG_HOME: world.dir };
		return await program(
			["/usr/bin/caddy"],
			(plain, tls) => {
				writeFileSync(config, caddyConfig(world, plain, tls));
				return ["run", "--config", config, "--adapter", "caddyfile"];
			},
			env,
		);
	},
};

/** A Node program of ours in a process of its own. */
function node(name: string, script: string): Peer {
	return {
		name,
		start: async (world) => {
			const path = fileURLToPath(new URL(script, import.meta.url));
			const more = process.env.BENCH_NODE_OPTIONS?.split(" ") ?? [];
			return await program([process.execPath, ...more, path], (plain, tls) => [
				...[plain, tls, world.upstreamPort, world.livePort].map(String),
				world.upstreamHost,
				world.certificate,
				world.key,
			]);
		},
	};
}

async function program(
	command: readonly string[],
	configure: (plain: number, tls: number) => readonly string[],
	env: NodeJS.ProcessEnv = {},
): Promise<RunningPeer | undefined> {
	const [file = "", ...before] = command;
	if (!existsSync(file)) return undefined;
	const [plainPort = 0, tlsPort = 0] = await freePorts(2);
	const args = configure(plainPort, tlsPort);
	const started: Started = await startProcess(file, [...before, ...args], [plainPort, tlsPort], env);
	const host = "bench.localhost";
	return { plainPort, tlsPort, host, liveHost: host, fields: [], pid: started.pid, stop: () => started.stop() };
}

/** The daemon with everything around the engine: routing by name, credentials, accounting, logs. */
const gangway: Peer = {
	name: "gangway",
	start: async ({ gangway: { plainPort, tlsPort, pid, host }, upstreamPort, livePort }) => ({
		plainPort,
		tlsPort,
		pid,
		host: host(upstreamPort),
		liveHost: host(livePort),
		fields: [],
		// Ends with the world: the servers run in its box.
		stop: async () => {},
	}),
};

/** The first one is what the others are compared with. */
export const PEERS: readonly Peer[] = [
	nginx,
	gangway,
	node("engine", "./peer-engine.js"),
	haproxy,
	caddy,
	node("undici", "./peer-undici.js"),
	node("http-proxy-3", "./peer-http-proxy.js"),
];
