import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { filledIn, snippets } from "./guide.js";
import { until } from "./until.js";

/** What the configurations in docs/tunnels.md leave open. */
export interface Fronted {
	readonly httpPort: number;
	/** `{port}-{key}.tunnel.<domain>` */
	readonly tunnelHost: string;
	readonly token: string;
}

/** Under which the guide's proxies are reached, over TLS with a certificate that nobody trusts. */
export const brand = "preview.customer.example";

/** A proxy in front of Gangway, configured as docs/tunnels.md tells its reader to. */
export class FrontingProxy {
	readonly #directory: string;
	readonly #process: ChildProcess;
	output = "";

	private constructor(
		directory: string,
		readonly port: number,
		command: readonly string[],
	) {
		this.#directory = directory;
		const [program, ...args] = command;
		// Caddy keeps its keys and certificates below these.
		const env = { PATH: process.env.PATH, HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory };
		this.#process = spawn(program!, args, { cwd: directory, env, stdio: ["ignore", "pipe", "pipe"] });
		for (const stream of [this.#process.stdout, this.#process.stderr])
			stream!.on("data", (chunk) => {
				this.output += chunk;
			});
	}

	static async nginx(fronted: Fronted): Promise<FrontingProxy> {
		const directory = await mkdtemp(join(tmpdir(), "gangway-nginx-"));
		const port = await freePort();
		const names = ["-subj", `/CN=${brand}`, "-addext", `subjectAltName=DNS:${brand}`];
		const files = ["-keyout", join(directory, "key.pem"), "-out", join(directory, "cert.pem")];
		const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509"];
		execFileSync("openssl", ["req", ...kind, ...names, ...files], { stdio: "ignore" });
		const site = filledIn(snippets("nginx").join(""), {
			...values(fronted),
			"443 ssl": `127.0.0.1:${port} ssl`,
			"/etc/ssl/preview": directory,
		});
		const own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${directory};`);
		const main = ["daemon off;", "user root;", "worker_processes 1;", "pid nginx.pid;", "events {}"];
		const http = ["http {", "access_log off;", ...own, site, "}"];
		await writeFile(join(directory, "nginx.conf"), [...main, ...http].join("\n"));
		return FrontingProxy.start(directory, port, ["nginx", "-p", directory, "-c", "nginx.conf", "-e", "stderr"]);
	}

	static async caddy(fronted: Fronted): Promise<FrontingProxy> {
		const directory = await mkdtemp(join(tmpdir(), "gangway-caddy-"));
		const [port, plainPort] = [await freePort(), await freePort()];
		const site = filledIn(snippets("caddy").join(""), values(fronted));
		// Its own CA in place of a public one.
		const global = `{\nadmin off\nlocal_certs\nskip_install_trust\nhttp_port ${plainPort}\nhttps_port ${port}\n}\n`;
		await writeFile(join(directory, "Caddyfile"), global + site);
		return FrontingProxy.start(directory, port, ["caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
	}

	/** Resolves once it accepts connections. */
	private static async start(directory: string, port: number, command: readonly string[]): Promise<FrontingProxy> {
		const proxy = new FrontingProxy(directory, port, command);
		try {
			await until("the proxy accepts connections", () => accepts(port));
		} catch (error) {
			await proxy.remove();
			throw new Error(`the proxy did not start:\n${proxy.output}`, { cause: error });
		}
		return proxy;
	}

	url(path: string): string {
		return `https://${brand}:${this.port}${path}`;
	}

	/** Ends it and removes its files. */
	async remove(): Promise<void> {
		if (this.#process.exitCode === null && this.#process.signalCode === null) {
			const exited = once(this.#process, "exit");
			this.#process.kill("SIGTERM");
			await exited;
		}
		await rm(this.#directory, { recursive: true, force: true });
	}
}

const values = ({ httpPort, tunnelHost, token }: Fronted) => ({
	"127.0.0.1:7080": `127.0.0.1:${httpPort}`,
	"8080-KEY.tunnel.gangway.localhost": tunnelHost,
	TOKEN: token,
});

async function freePort(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as AddressInfo;
	server.close();
	await once(server, "close");
	return port;
}

async function accepts(port: number): Promise<true> {
	const socket = connect(port, "127.0.0.1");
	await once(socket, "connect");
	socket.destroy();
	return true;
}
