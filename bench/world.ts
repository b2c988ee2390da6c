/** What all peers stand before: a certificate, and a box's server that is never the bottleneck. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts, output, startProcess } from "./process.js";

export interface World {
	/** For configuration and other files; removed at the end. */
	readonly dir: string;
	readonly key: string;
	readonly certificate: string;
	/** HTTP: `/` tiny, `/20k`, `/100m`; POST anything. An nginx of its own. */
	readonly upstreamPort: number;
	/** `/ws` echoes WebSocket frames, `/events` streams them. */
	readonly livePort: number;
	close(): Promise<void>;
}

export const MEGABYTES = 100;

export async function createWorld(): Promise<World> {
	const dir = mkdtempSync(join(tmpdir(), "gangway-bench-"));
	const [key, certificate] = [join(dir, "key.pem"), join(dir, "cert.pem")];
	const subject = ["-subj", "/CN=bench.localhost", "-addext", "subjectAltName=DNS:bench.localhost,IP:127.0.0.1"];
	const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
	await output("openssl", ["req", "-x509", ...ec, ...subject, "-keyout", key, "-out", certificate]);
	writeFileSync(join(dir, "20k"), Buffer.alloc(20 * 1024, "x"));
	writeFileSync(join(dir, "100m"), Buffer.alloc(MEGABYTES * 1024 * 1024, "x"));
	const [upstreamPort = 0, livePort = 0] = await freePorts(2);
	const config = join(dir, "upstream.conf");
	writeFileSync(config, upstreamConfig(dir, upstreamPort));
	const upstream = await startProcess(
		"nginx",
		["-c", config, "-p", dir, "-e", join(dir, "upstream.log")],
		[upstreamPort],
	);
	const script = fileURLToPath(new URL("./live-upstream.js", import.meta.url));
	const live = await startProcess(process.execPath, [script, String(livePort)], [livePort]);
	return {
		dir,
		key,
		certificate,
		upstreamPort,
		livePort,
		close: async () => {
			await Promise.all([upstream.stop(), live.stop()]);
			rmSync(dir, { recursive: true, force: true });
		},
	};
}

function upstreamConfig(dir: string, port: number): string {
	return `daemon off; master_process off; worker_rlimit_nofile 20000; pid ${dir}/upstream.pid; error_log ${dir}/upstream.log;
events { worker_connections 10000; }
http {
	access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; client_max_body_size 0; sendfile on; tcp_nopush off;
	open_file_cache max=10; client_body_buffer_size 1m;
	client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
	server {
		listen 127.0.0.1:${port} backlog=4096; root ${dir};
		location = / { default_type text/plain; return 200 "hello"; }
		location = /20k { } location = /100m { }
	}
}
`;
}
