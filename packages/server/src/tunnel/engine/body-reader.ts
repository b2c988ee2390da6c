/** Reads the body of a request that Gangway answers by itself. */
import type { BodyRequest, LocalResponse } from "../decision.js";
import type { Trailers } from "./codec/chunked.js";
import type { Core } from "./core.js";

/** What takes the body of a request. */
export interface BodySink {
	/** The head of a final response was sent. */
	readonly answered: boolean;
	/** Bytes of the body; nobody changes them any more. Returns whether more may come at once. */
	body(chunk: Buffer): boolean;
	bodyEnd(trailers: Trailers | undefined): void;
}

export class BodyReader implements BodySink {
	readonly answered = false;
	/** Comes never in the same event as the bytes that it answers. */
	readonly response: Promise<LocalResponse>;
	private readonly parts: Buffer[] = [];
	private size = 0;
	private read!: (body: Buffer | undefined) => void;

	/** `length` is what the request's head tells of its body, 0 or less when nothing. */
	constructor(
		core: Core,
		private readonly request: BodyRequest,
		length: number,
	) {
		const whole = new Promise<Buffer | undefined>((resolve) => {
			this.read = resolve;
		});
		this.response = whole.then((body) => (body === undefined ? core.refuse(413) : request.answer(body)));
		if (length > request.limit) this.read(undefined);
	}

	body(chunk: Buffer): boolean {
		this.size += chunk.length;
		if (this.size <= this.request.limit) this.parts.push(chunk);
		else this.read(undefined);
		return this.size <= this.request.limit;
	}

	bodyEnd(): void {
		this.read(Buffer.concat(this.parts));
	}
}
