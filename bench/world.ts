/** What all peers stand before: a certificate, and a box's server that is never the bottleneck. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Box, type Gangway, startGangway } from "./gangway.js";
import { output } from "./process.js";

export interface World {
	/** For configuration and other files, `100m` to be uploaded among them; removed at the end. */
	readonly dir: string;
	readonly key: string;
	readonly certificate: string;
	readonly gangway: Gangway;
	/** The devbox in which the servers below run. */
	readonly box: Box;
	/** Behind an authenticated tunnel; has the first server only. */
	readonly privateBox: Box;
	/** HTTP: `/` tiny, `/20k`, `/100m`; POST anything. An nginx of its own. */
	readonly upstreamPort: number;
	/** `/ws` echoes WebSocket frames, `/events` streams them, `/up` takes uploads. */
	readonly livePort: number;
	close(): Promise<void>;
}

export const MEGABYTES = 100;

export async function createWorld(): Promise<World> {
	const dir = mkdtempSync(join(tmpdir(), "gangway-bench-"));
	const [key, certificate] = [join(dir, "key.pem"), join(dir, "cert.pem")];
	const subject = [
		"-subj",
		"/CN=bench.localhost",
		"-addext",
		"subjectAltName=DNS:bench.localhost,DNS:*.tunnel.bench.localhost,IP:127.0.0.1",
	];
	const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
	await output("openssl", ["req", "-x509", ...ec, ...subject, "-keyout", key, "-out", certificate]);
	const [upstreamPort, livePort] = [8080, 8081];
	let gangway: Gangway | undefined;
	const close = async () => {
		await gangway?.close();
		rmSync(dir, { recursive: true, force: true });
	};
	try {
		writeFileSync(join(dir, "100m"), Buffer.alloc(MEGABYTES * 1024 * 1024, "x"));
		gangway = await startGangway(dir, certificate, key);
		const box = await gangway.createBox({
			auth: "open",
			files: { "upstream.conf": upstreamConfig("/home/user", upstreamPort), "live.mjs": liveUpstream() },
			commands: [
				"head -c 20480 /dev/zero | tr '\\0' x >20k",
				`head -c ${MEGABYTES}M /dev/zero | tr '\\0' x >100m`,
				NGINX,
				`node live.mjs ${livePort} &`,
				...[upstreamPort, livePort].map(untilItListens),
			],
		});
		const privateBox = await gangway.createBox({
			auth: "authenticated",
			files: { "upstream.conf": upstreamConfig("/home/user", upstreamPort) },
			commands: [NGINX, untilItListens(upstreamPort)],
		});
		return { dir, key, certificate, gangway, box, privateBox, upstreamPort, livePort, close };
	} catch (error) {
		await close();
		throw error;
	}
}

const NGINX = "nginx -c ~/upstream.conf -p ~ -e ~/upstream.log &";

function untilItListens(port: number): string {
	return `until (: </dev/tcp/127.0.0.1/${port}) 2>/dev/null; do sleep 0.05; done`;
}

/** The compiled server for WebSockets, event streams and uploads. */
function liveUpstream(): string {
	return readFileSync(new URL("./live-upstream.js", import.meta.url), "utf8");
}

function upstreamConfig(dir: string, port: number): string {
	return `daemon off; master_process off; worker_rlimit_nofile 20000; pid ${dir}/upstream.pid; error_log ${dir}/upstream.log;
events { worker_connections 10000; }
http {
	access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; client_max_body_size 0; sendfile on; tcp_nopush off;
	open_file_cache max=10; client_body_buffer_size 1m;
	client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
	server {
		listen 0.0.0.0:${port} backlog=4096; root ${dir};
		location = / { default_type text/plain; return 200 "hello"; }
		location = /20k { } location = /100m { }
	}
}
`;
}
