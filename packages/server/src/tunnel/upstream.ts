import { Agent, type ClientRequest, type RequestOptions, request } from "node:http";
import { connect, isIPv4, type Socket } from "node:net";
import type { UpstreamFailure } from "./decision.js";
import type { RawFields } from "./fields.js";

export interface Upstream {
	readonly devboxId: string;
	/** IPv4, never a name: nothing here resolves. */
	readonly address: string;
	readonly port: number;
}

export interface UpstreamRequest {
	readonly method: string;
	readonly path: string;
	readonly fields: RawFields;
	/** A connection of its own, which may be closed one way: for upgrades. */
	readonly dedicated: boolean;
	/** Bytes. */
	readonly maxHeaderSize: number;
}

interface Options extends RequestOptions {
	readonly devboxId: string;
}

/** Ours is shorter than the keep-alive of common servers (Node 5 s), so that we hang up first. */
const idleMs = 4_000;

/** Idle connections by devbox: an address may be used again by another box, its connections must not be. */
class DevboxAgent extends Agent {
	override getName(options?: RequestOptions): string {
		const { devboxId, host, port } = options as Options;
		return `${devboxId} ${host}:${port}`;
	}
}

export class UpstreamPool {
	readonly #agent = new DevboxAgent({ keepAlive: true, timeout: idleMs, maxFreeSockets: 64, scheduling: "lifo" });

	/** Begins a request; throws when method or path cannot be sent. */
	request(to: Upstream, { method, path, fields, dedicated, maxHeaderSize }: UpstreamRequest): ClientRequest {
		if (!isIPv4(to.address)) throw new TypeError("an upstream is an IPv4 address");
		const options: Options = {
			devboxId: to.devboxId,
			host: to.address,
			port: to.port,
			method,
			path,
			headers: fields,
			maxHeaderSize,
			...(dedicated ? { createConnection: () => ownConnection(to) } : { agent: this.#agent }),
		};
		return request(options);
	}

	/** Forgets the idle connections to one server: one of them turned out to be dead, so the others are too. */
	forget(to: Upstream): void {
		this.#destroyIdle((name) => name === this.#agent.getName({ ...to, host: to.address } as Options));
	}

	/** Forgets the idle connections to a devbox. */
	drop(devboxId: string): void {
		this.#destroyIdle((name) => name.startsWith(`${devboxId} `));
	}

	close(): void {
		this.#agent.destroy();
	}

	#destroyIdle(matches: (name: string) => boolean): void {
		for (const [name, sockets] of Object.entries(this.#agent.freeSockets)) {
			if (matches(name)) for (const socket of [...(sockets ?? [])]) socket.destroy();
		}
	}
}

function ownConnection(to: Upstream): Socket {
	return connect({ host: to.address, port: to.port, allowHalfOpen: true, noDelay: true });
}

/** What went wrong, in the words of the seam. */
export function failureOf(error: NodeJS.ErrnoException, connected: boolean): UpstreamFailure {
	const code = error.code ?? "";
	if (code.startsWith("HPE_")) return "bad_response";
	if (connected) return "closed";
	if (code === "ECONNREFUSED") return "refused";
	if (code === "ETIMEDOUT") return "connect_timeout";
	return "unreachable";
}

/**
 * A kept connection can be closed by the server just as the next request goes out. RFC 9110 9.2.2 lets a proxy repeat
 * what is idempotent; without a body there is also nothing that was already spent.
 */
export function mayRepeat(method: string): boolean {
	return ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].includes(method);
}
