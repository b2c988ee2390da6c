import type { Socket } from "node:net";

/** sshd's LoginGraceTime: what is exchanged before it may come from somebody who never logs in. */
const LOGIN_GRACE_MS = 30_000;
const ACTIVITY_WINDOW_MS = 60_000;
const ACTIVITY_BYTES = 1024;
/** SSH never half-closes for long: a session of which one side has ended goes on only while bytes flow. */
const HALF_CLOSED_MS = 60_000;

/** One client and, once its box runs, the box's sshd. Counts bytes; whoever owns it looks at the counts now and then. */
export class PassthroughSession {
	/** Empty until the label is looked up. */
	devboxId = "";
	readonly startedAtMs = performance.now();
	readonly peerAddress: string | undefined;
	/** The box's sshd has been reached. */
	reached = false;
	readonly #client: Socket;
	readonly #abort = new AbortController();
	#upstream: Socket | undefined;
	#halfClosed = false;
	/** Both directions together. */
	#bytes = 0;
	#seenBytes = 0;
	/** When `#bytes` was last seen to have grown. */
	#seenAtMs: number | undefined;
	#loginUntilMs = Number.POSITIVE_INFINITY;
	#windowStartMs = 0;
	#windowBytes = 0;

	constructor(client: Socket) {
		this.#client = client;
		this.peerAddress = client.remoteAddress;
		// Until there is somebody to write to, the stream's own buffer is all that is read.
		client.pause();
	}

	/** Fires when the session ends. */
	get signal(): AbortSignal {
		return this.#abort.signal;
	}

	/** Exchanged so far. */
	get bytes(): number {
		return this.#bytes;
	}

	get ended(): boolean {
		return this.#abort.signal.aborted;
	}

	/** Sends everything the client has said and will say to `upstream`, and back. */
	join(upstream: Socket, nowMs: number, connectMs: number): void {
		this.#upstream = upstream;
		this.#loginUntilMs = nowMs + LOGIN_GRACE_MS;
		upstream.on("error", () => this.destroy());
		upstream.setTimeout(connectMs, () => this.destroy());
		upstream.once("connect", () => {
			this.reached = true;
			upstream.setTimeout(0);
			upstream.removeAllListeners("timeout");
			this.#relay(this.#client, upstream);
			this.#relay(upstream, this.#client);
		});
		upstream.once("close", () => {
			// The last bytes for the client may still be on their way out; its own end closes it then.
			if (!this.#client.writableEnded) this.destroy();
		});
	}

	/** The state of the idle clocks. `active`: enough was exchanged to count as activity; says so once per amount. */
	look(nowMs: number, idleTimeoutMs: number): { readonly idle: boolean; readonly active: boolean } {
		const bytes = this.#bytes;
		if (this.#seenAtMs === undefined || bytes !== this.#seenBytes) {
			this.#seenBytes = bytes;
			this.#seenAtMs = nowMs;
		}
		const patience = this.#halfClosed ? Math.min(HALF_CLOSED_MS, idleTimeoutMs) : idleTimeoutMs;
		return { idle: nowMs - this.#seenAtMs >= patience, active: this.#looksActive(nowMs, bytes) };
	}

	destroy(): void {
		if (this.ended) return;
		this.#abort.abort();
		this.#client.destroy();
		this.#upstream?.destroy();
	}

	#looksActive(nowMs: number, bytes: number): boolean {
		const active = nowMs > this.#loginUntilMs && bytes - this.#windowBytes > ACTIVITY_BYTES;
		if (active || nowMs <= this.#loginUntilMs || nowMs - this.#windowStartMs >= ACTIVITY_WINDOW_MS) {
			this.#windowStartMs = nowMs;
			this.#windowBytes = bytes;
		}
		return active;
	}

	#relay(from: Socket, to: Socket): void {
		from.on("data", (chunk: Buffer) => {
			this.#bytes += chunk.length;
			if (!to.write(chunk)) from.pause();
		});
		to.on("drain", () => from.resume());
		from.on("end", () => {
			this.#halfClosed = true;
			to.end();
		});
		from.resume();
	}
}
