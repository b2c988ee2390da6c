/** The proxies that are compared. Each listens plain and with TLS, and forwards `/` to the upstream, `/ws` and `/events` to the live one. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts, NODE, startProcess } from "./process.js";
import type { Peer, Stoppable } from "./suite.js";
import type { World } from "./world.js";

export interface RunningPeer {
	readonly plainPort: number;
	readonly tlsPort: number;
	/** The authority of `/`, `/20k` and `/100m`. */
	readonly host: string;
	/** The authority of `/ws`, `/events` and `/up`. */
	readonly liveHost: string;
	/** The authority that is open only to `World.privateBox.token`. */
	readonly privateHost: string;
	readonly pid: number;
}

type TunnelPeer = Peer<RunningPeer>;

const HOST = "bench.localhost";
const PRIVATE_HOST = "private.localhost";
/** Our tunnel's credential field: whoever can, checks it as our tunnel does, and nobody forwards it. */
const CREDENTIAL = "X-Runloop-Tunnel-Authorization";

/** The fields that our tunnel sets: everybody sets the same. */
const NGINX_FIELDS = [
	"Host $http_host",
	'Connection ""',
	"X-Request-Id $request_id",
	"X-Forwarded-For $remote_addr",
	"X-Real-IP $remote_addr",
	"X-Forwarded-Proto $scheme",
	`${CREDENTIAL} ""`,
];

function nginxConfig(world: World, plain: number, tls: number): string {
	const { dir, box, privateBox } = world;
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
	upstream box { server ${box.address}:${world.upstreamPort}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 300s; }
	upstream live { server ${box.address}:${world.livePort}; }
	add_header X-Request-Id $request_id;
	ssl_certificate ${world.certificate}; ssl_certificate_key ${world.key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;
	server {
		listen 127.0.0.1:${plain} backlog=4096; listen 127.0.0.1:${tls} ssl http2 backlog=4096; server_name ${HOST};
		location / { proxy_pass http://box; ${set} }
		location /ws { proxy_pass http://live; ${setLive} }
		location /up { proxy_pass http://live; ${set} }
		location /events { proxy_buffering off; proxy_pass http://live; ${setLive} }
	}
	server {
		listen 127.0.0.1:${plain}; listen 127.0.0.1:${tls} ssl http2; server_name ${PRIVATE_HOST};
		if ($http_x_runloop_tunnel_authorization != "Bearer ${privateBox.token}") { return 401; }
		location / { proxy_pass http://box; ${set} }
	}
}
`;
}

const nginx: TunnelPeer = {
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
	unique-id-format %[uuid()]
	unique-id-header X-Request-Id
	http-reuse always
frontend f
	bind 127.0.0.1:${plain} backlog 4096
	bind 127.0.0.1:${tls} backlog 4096 ssl crt ${world.dir}/both.pem alpn h2,http/1.1
	http-request deny deny_status 401 if { req.hdr(host) ${PRIVATE_HOST} } !{ req.hdr(${CREDENTIAL}) "Bearer ${world.privateBox.token}" }
	http-request del-header ${CREDENTIAL}
	http-request set-header X-Forwarded-For %[src]
	http-request set-header X-Real-IP %[src]
	http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
	http-response set-header X-Request-Id %[unique-id]
	use_backend live if { path /ws } || { path /up } || { path /events }
	default_backend box
backend box
	server s ${world.box.address}:${world.upstreamPort} pool-max-conn 1024
backend live
	server s ${world.box.address}:${world.livePort}
`;
}

const haproxy: TunnelPeer = {
	name: "haproxy",
	start: async (world) => {
		const config = join(world.dir, "haproxy.cfg");
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
		reverse_proxy ${world.box.address}:${world.livePort} {
			flush_interval -1
		}
	}`;
	const site = `	bind 127.0.0.1
${live("/ws")}
${live("/up")}
${live("/events")}
	header X-Request-Id {http.request.uuid}
	@stranger {
		host ${PRIVATE_HOST}
		not header ${CREDENTIAL} "Bearer ${world.privateBox.token}"
	}
	handle @stranger {
		respond 401
	}
	handle {
		reverse_proxy ${world.box.address}:${world.upstreamPort} {
			header_up X-Request-Id {http.request.uuid}
			header_up X-Forwarded-For {remote_host}
			header_up X-Real-IP {remote_host}
			header_up -${CREDENTIAL}
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

const caddy: TunnelPeer = {
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
function node(name: string, script: string): TunnelPeer {
	return {
		name,
		start: async (world) => {
			const path = fileURLToPath(new URL(script, import.meta.url));
			return await program([...NODE, path], (plain, tls) => [
				...[plain, tls, world.upstreamPort, world.livePort].map(String),
				world.box.address,
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
): Promise<(RunningPeer & Stoppable) | undefined> {
	if (!existsSync(command[0] ?? "")) return undefined;
	const [plainPort = 0, tlsPort = 0] = await freePorts(2);
	const args = configure(plainPort, tlsPort);
	const { pid, stop } = await startProcess([...command, ...args], [plainPort, tlsPort], env);
	return { plainPort, tlsPort, host: HOST, liveHost: HOST, privateHost: PRIVATE_HOST, pid, stop };
}

/** The daemon with everything around the engine: routing by name, credentials, accounting, logs. */
const gangway: TunnelPeer = {
	name: "gangway",
	start: async ({ gangway, box, privateBox, upstreamPort, livePort }) => {
		await gangway.restart();
		return {
			plainPort: gangway.plainPort,
			tlsPort: gangway.tlsPort,
			// Another one after each start.
			get pid() {
				return gangway.pid;
			},
			host: box.host(upstreamPort),
			liveHost: box.host(livePort),
			privateHost: privateBox.host(upstreamPort),
			// Ends with the world: the servers run in its boxes.
			stop: async () => {},
		};
	},
};

export const PEERS: readonly TunnelPeer[] = [
	nginx,
	gangway,
	node("engine", "./peer-engine.js"),
	node("floor", "./peer-floor.js"),
	haproxy,
	caddy,
	node("undici", "./peer-undici.js"),
	node("http-proxy-3", "./peer-http-proxy.js"),
];
