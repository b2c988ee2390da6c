import { createServer, type Server, type Socket } from "node:net";
import { SettingError } from "../errors.js";

/** Tries for one free port on several addresses. */
const ATTEMPTS = 10;
const KEEPALIVE_MS = 60_000;

/** One port on one or more addresses. */
export class Listeners {
	#servers: Server[] = [];
	readonly #accept: (socket: Socket) => void;
	#closed = false;

	constructor(accept: (socket: Socket) => void) {
		this.#accept = accept;
	}

	/**
	 * Listens on every address with the same port; port 0 means any free one. Returns the port.
	 * @throws {SettingError}
	 */
	async listen(addresses: readonly string[], port: number, setting: string): Promise<number> {
		for (let attempt = 1; ; attempt++) {
			try {
				return await this.#listenAll(addresses, port);
			} catch (error) {
				await this.#closeServers();
				const { code } = error as NodeJS.ErrnoException;
				if (port === 0 && code === "EADDRINUSE" && attempt < ATTEMPTS) continue;
				throw explain(error as NodeJS.ErrnoException, port, setting);
			}
		}
	}

	/** Stops accepting at once; resolves when the accepted sockets are closed too. */
	async close(): Promise<void> {
		this.#closed = true;
		await this.#closeServers();
	}

	async #listenAll(addresses: readonly string[], port: number): Promise<number> {
		let actual = port;
		for (const host of addresses) {
			const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };
			const server = createServer(options, this.#accept);
			// ipv6Only, so that "0.0.0.0" and "::" can stand side by side.
			const ipv6Only = host.includes(":") && addresses.length > 1;
			await new Promise<void>((resolve, reject) => {
				server.once("error", reject);
				server.listen({ host, port: actual, ipv6Only }, () => {
					server.off("error", reject);
					// Failing accepts (out of descriptors) are reported here; the next connection may succeed.
					server.on("error", () => {});
					resolve();
				});
			});
			this.#servers.push(server);
			// Closed meanwhile: whoever listens must not win.
			if (this.#closed) throw new Error("the listener was closed");
			actual = (server.address() as { port: number }).port;
		}
		return actual;
	}

	async #closeServers(): Promise<void> {
		const servers = this.#servers;
		this.#servers = [];
		await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
	}
}

function explain(error: NodeJS.ErrnoException & { address?: string }, port: number, setting: string): SettingError {
	const { code } = error;
	switch (code) {
		case "EADDRINUSE":
			return new SettingError(
				setting,
				`port ${port} is taken (EADDRINUSE); stop what listens there or choose another port, 0 for any free one`,
			);
		case "EACCES":
			return new SettingError(
				setting,
				`port ${port} needs more rights (EACCES); run as root, give the process CAP_NET_BIND_SERVICE or choose a port from 1024 up`,
			);
		case "EADDRNOTAVAIL":
		case "ENOTFOUND":
		case "EINVAL":
			return new SettingError("bind", `${error.address ?? "the address"} is not an address of this host (${code})`);
		default:
			return new SettingError(setting, `cannot listen on port ${port} (${code ?? error.message})`);
	}
}
