import type { ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { ProxyDecision, UpstreamFailure } from "./decision.js";
import { requestFields, responseFields, trailerFields } from "./fields.js";
import { breakOff, endWith, type Front, isTruncated, writeHead, writeInformation, writeLocal } from "./front.js";
import type { TunnelLimits } from "./limits.js";
import { splice } from "./splice.js";
import { failureOf, mayRepeat, type UpstreamPool } from "./upstream.js";

/** The socket of a request for an upgrade, and what the client sent after it. */
export interface Upgrading {
	readonly socket: Socket;
	readonly head: Buffer;
}

export interface ExchangeOptions {
	readonly front: Front;
	readonly upgrading: Upgrading | undefined;
	readonly decision: ProxyDecision;
	readonly pool: UpstreamPool;
	readonly limits: TunnelLimits;
	/** Called once, when neither side has anything more to say. */
	readonly onEnd: (exchange: Exchange) => void;
}

/** Methods to which node's client adds no framing of its own when there is no body. */
const bodyless: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);

/** One request on its way to a box and back, or the connection it became. */
export class Exchange {
	readonly devboxId: string;
	/** Bytes of bodies, and of everything after an upgrade. */
	bytesIn = 0;
	bytesOut = 0;
	/** It became a connection of another protocol. */
	upgraded = false;
	failure: UpstreamFailure | undefined;
	readonly #options: ExchangeOptions;
	#upstream: ClientRequest | undefined;
	#connected = false;
	/** By the connection's former requests. */
	#bytesReadBefore = 0;
	#uploaded: boolean;
	#continued = false;
	#ended = false;
	#timer: NodeJS.Timeout | undefined;
	#endSplice: (() => void) | undefined;

	constructor(options: ExchangeOptions) {
		this.#options = options;
		this.devboxId = options.decision.devboxId;
		this.#uploaded = options.front.body.kind === "none";
	}

	/** What the client was told; 499, as nginx has it, when it did not wait for that. */
	get status(): number {
		if (this.upgraded) return 101;
		const { res } = this.#options.front;
		return res.headersSent ? res.statusCode : 499;
	}

	start(): void {
		this.#options.front.res.once("close", () => this.#end());
		this.#attempt(true);
	}

	/** Ends it now, whatever it is doing. */
	abort(): void {
		if (this.#endSplice) this.#endSplice();
		else this.#fail("closed");
	}

	#attempt(mayRetry: boolean): void {
		const { decision } = this.#options;
		const upstream = this.#request();
		this.#upstream = upstream;
		this.#connected = false;
		upstream.once("socket", (socket) => this.#onSocket(socket));
		upstream.on("information", (info) => this.#onInformation(info.statusCode, info.rawHeaders));
		upstream.once("response", (response) => this.#onResponse(response));
		upstream.once("upgrade", (response, socket, head) => this.#onUpgrade(response, socket, head));
		upstream.on("error", (error: NodeJS.ErrnoException) => {
			if (upstream !== this.#upstream || this.#ended || this.failure !== undefined) return;
			if (mayRetry && this.#isStale(upstream, error)) {
				this.#options.pool.forget(decision);
				this.#attempt(false);
			} else if (!this.#options.front.res.headersSent) {
				// Later errors are the upload's, or the response body's, which tells by itself.
				this.#fail(failureOf(error, this.#connected));
			}
		});
		this.#send(upstream);
	}

	#request(): ClientRequest {
		const { front, upgrading, decision, pool, limits } = this.#options;
		const { body, info } = front;
		return pool.request(decision, {
			method: info.method,
			path: info.target,
			fields: requestFields(front.fields, {
				remove: decision.remove,
				set: decision.set,
				upgrade: upgrading !== undefined,
				body:
					body.kind === "chunked" ? "chunked" : body.kind === "none" && !bodyless.has(info.method) ? "empty" : "as-is",
			}),
			dedicated: upgrading !== undefined,
			maxHeaderSize: limits.maxResponseHeadBytes,
		});
	}

	/** Nothing but a reset on a connection that had been idle: the server had closed it, and has not seen the request. */
	#isStale(upstream: ClientRequest, error: NodeJS.ErrnoException): boolean {
		const { front } = this.#options;
		const reset = error.code === "ECONNRESET" || error.code === "EPIPE";
		const silent = upstream.socket?.bytesRead === this.#bytesReadBefore;
		return reset && silent && upstream.reusedSocket && front.body.kind === "none" && mayRepeat(front.info.method);
	}

	#onSocket(socket: Socket): void {
		this.#bytesReadBefore = socket.bytesRead;
		const { limits, decision } = this.#options;
		const connected = () => {
			this.#connected = true;
			this.#startTimer(limits.responseMs, "response_timeout");
			decision.activity?.();
		};
		if (!socket.connecting) {
			connected();
			return;
		}
		this.#startTimer(limits.connectMs, "connect_timeout");
		socket.once("connect", connected);
	}

	#send(upstream: ClientRequest): void {
		const { front, decision } = this.#options;
		const { req, body } = front;
		if (body.kind === "none") {
			upstream.end();
			return;
		}
		upstream.flushHeaders();
		req.pipe(upstream, { end: false });
		req.on("data", (chunk: Buffer) => {
			this.bytesIn += chunk.length;
			if (this.#connected) this.#timer?.refresh();
			decision.activity?.();
		});
		req.once("end", () => {
			// A body that is cut short must not look complete to the app, nor leave the connection out of step.
			if (isTruncated(req) || (body.kind === "sized" && this.bytesIn !== body.length)) {
				upstream.destroy();
				return;
			}
			this.#uploaded = true;
			const set = decision.set.map(([name]) => name.toLowerCase());
			const trailers = trailerFields(req.rawTrailers, [...decision.remove, ...set]);
			if (trailers.length > 0) upstream.addTrailers(trailers.map(([name, value]) => [name, value] as [string, string]));
			upstream.end();
		});
	}

	#onInformation(status: number, fields: readonly string[]): void {
		if (this.#ended) return;
		if (status === 100) this.#continued = true;
		writeInformation(this.#options.front, status, fields);
	}

	#onResponse(response: IncomingMessage): void {
		const { front, decision } = this.#options;
		this.#stopTimer();
		response.once("error", () => this.#truncate());
		if (this.#ended || front.res.headersSent) {
			response.destroy();
			return;
		}
		const set: [string, string][] = [["x-runloop-request-id", decision.requestId]];
		const undecided = front.expectsContinue && !this.#continued && front.req.httpVersionMajor === 1;
		const fields = responseFields(response.rawHeaders, set);
		if (undecided) fields.push("Connection", "close");
		try {
			writeHead(front.res, response.statusCode ?? 0, response.statusMessage ?? "", fields);
		} catch {
			this.#fail("bad_response");
			return;
		}
		this.#passBody(response);
	}

	#passBody(response: IncomingMessage): void {
		const { front, decision } = this.#options;
		decision.activity?.();
		response.pipe(front.res, { end: false });
		response.on("data", (chunk: Buffer) => {
			this.bytesOut += chunk.length;
			decision.activity?.();
		});
		response.once("end", () => {
			// The rest of an upload that nobody waits for: without it the connection is out of step and must not be used again.
			if (!this.#uploaded) this.#destroyUpstream();
			endWith(front.res, trailerFields(response.rawTrailers, ["x-runloop-request-id"]));
		});
	}

	#onUpgrade(response: IncomingMessage, socket: Socket, head: Buffer): void {
		const { upgrading, front, decision } = this.#options;
		this.#stopTimer();
		if (this.#ended || upgrading === undefined || response.statusCode !== 101) {
			socket.destroy();
			this.#fail("bad_response");
			return;
		}
		this.upgraded = true;
		this.#endSplice = splice({
			client: upgrading.socket,
			clientHead: upgrading.head,
			upstream: socket,
			upstreamHead: head,
			response,
			clientResponse: front.res,
			requestId: decision.requestId,
			onBytes: (direction, count) => {
				if (direction === "in") this.bytesIn += count;
				else this.bytesOut += count;
				decision.activity?.();
			},
			onEnd: () => this.#end(),
		});
	}

	/** Tells the client, if it can still be told. */
	#fail(failure: UpstreamFailure): void {
		if (this.#ended) return;
		this.failure ??= failure;
		this.#stopTimer();
		this.#destroyUpstream();
		const { front, decision } = this.#options;
		if (front.res.headersSent) breakOff(front.res);
		else writeLocal(front, decision.failed(failure));
	}

	/** The upstream's response broke off after its head had gone out. */
	#truncate(): void {
		if (this.#ended) return;
		this.failure ??= "closed";
		breakOff(this.#options.front.res);
	}

	#destroyUpstream(): void {
		const { req } = this.#options.front;
		const upstream = this.#upstream;
		if (upstream === undefined) return;
		req.unpipe(upstream);
		upstream.destroy();
		// What the client still sends has no destination; unread it would block the next request of the connection.
		req.resume();
	}

	#end(): void {
		if (this.#ended) return;
		this.#ended = true;
		this.#stopTimer();
		if (!this.upgraded && !this.#options.front.res.writableEnded) this.#upstream?.destroy();
		this.#options.onEnd(this);
	}

	#startTimer(ms: number, failure: UpstreamFailure): void {
		this.#stopTimer();
		this.#timer = setTimeout(() => this.#fail(failure), ms);
	}

	#stopTimer(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
	}
}
