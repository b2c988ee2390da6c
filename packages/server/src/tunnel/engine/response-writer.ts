/** Writes the responses of boxes to an HTTP/1.1 client, framed as the client understands. */
import type * as net from "node:net";
import type { ProxyDecision } from "../decision.js";
import type { Trailers } from "./codec/chunked.js";
import { REQUEST_ID } from "./codec/fields.js";
import { CHUNKED } from "./codec/request-head.js";
import { type ResponseHead, UNTIL_CLOSE } from "./codec/response-head.js";
import { forwardedResponseHead, forwardedTrailers, lastChunk, switchingResponseHead } from "./codec/rewrite.js";
import type { Core } from "./core.js";
import { SMALL } from "./exchange.js";
import { writeBody } from "./output.js";
import type { Slab } from "./slabs.js";

export class ResponseWriter {
	/** The body ends with the connection. */
	untilClose = false;
	private chunked = false;

	constructor(
		private readonly core: Core,
		private readonly socket: net.Socket,
	) {}

	/** How a body is sent to a client, which may be too `old` for chunks. */
	frame(head: ResponseHead, old: boolean): void {
		const unknown = head.bodyLength < 0;
		this.chunked = unknown && !old;
		this.untilClose = unknown && old;
	}

	/** The head, after `frame`, with the first bytes of the body. `connection` is a whole `Connection` line or nothing. */
	respond(
		head: ResponseHead,
		decision: ProxyDecision,
		connection: string,
		bytes: Buffer,
		start: number,
		end: number,
		done: boolean,
		trailers: Trailers | undefined,
	): boolean {
		const framing = this.chunked ? CHUNKED : this.untilClose ? UNTIL_CLOSE : head.bodyLength;
		// A short body that needs no framing goes with the text of its head.
		const together = !this.chunked && start === head.end && end - start <= SMALL;
		const until = together ? end : head.end;
		const text = forwardedResponseHead(
			head,
			framing,
			requestIdLine(decision) + connection,
			decision.guardedCookie,
			until,
		);
		return this.write(text, bytes, undefined, together ? end : start, end, done, trailers);
	}

	interim(head: ResponseHead, decision: ProxyDecision): void {
		this.socket.write(forwardedResponseHead(head, 0, "", decision.guardedCookie), "latin1");
	}

	/** 101 with the first bytes of the other protocol; from now on bytes go as they are. */
	switched(head: ResponseHead, decision: ProxyDecision, bytes: Buffer, start: number, end: number): boolean {
		this.chunked = false;
		const text = switchingResponseHead(head, requestIdLine(decision), decision.guardedCookie);
		return this.write(text, bytes, undefined, start, end, false, undefined);
	}

	/** `head` and bytes of the body; see `Downstream.data`. */
	write(
		head: string,
		bytes: Buffer,
		slab: Slab | undefined,
		start: number,
		end: number,
		done: boolean,
		trailers: Trailers | undefined,
	): boolean {
		const tail = done && this.chunked ? lastChunk(forwardedTrailers(trailers, undefined)) : "";
		return writeBody(this.socket, this.core.slabs, head, bytes, slab, start, end, this.chunked, tail);
	}
}

function requestIdLine({ requestId }: ProxyDecision): string {
	return requestId === "" ? "" : `${REQUEST_ID}: ${requestId}\r\n`;
}
