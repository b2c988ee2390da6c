/**
 * Reads a devbox's console: lines that commands printed, and between them the init script's reports, each of which begins
 * with RS (U+001E) and the nonce of this start. No I/O; chunks may end anywhere, also inside a character.
 */
export type ConsoleItem =
	| { readonly kind: "line"; readonly text: string; readonly during: Step | null; readonly endOffset: number }
	| { readonly kind: "report"; readonly report: Report; readonly endOffset: number };

/** What init was doing when a line was printed. */
export interface Step {
	readonly name: "launch" | "suspend" | "entrypoint" | "failed";
	readonly index: number;
}

export type Report =
	| { readonly event: "begin"; readonly step: Step }
	| { readonly event: "end"; readonly step: Step; readonly exitCode: number }
	| { readonly event: "initialized" }
	| { readonly event: "stopped" }
	| { readonly event: "failed"; readonly what: string };

const newline = 0x0a;
const recordSeparator = 0x1e;
/** A line without an end is cut here, so that a program that prints no newline costs no memory. */
const maxLineBytes = 16 * 1024;
/** What follows RS in any start's reports; see `Supervisor`'s nonce. */
const anyNonce = /^[0-9a-f]{32} /;

export class ConsoleParser {
	readonly #prefix: string;
	readonly #emit: (item: ConsoleItem) => void;
	#pending: Buffer[] = [];
	#pendingBytes = 0;
	#step: Step | null;

	/** @param step what init is doing where reading begins */
	constructor(nonce: string, emit: (item: ConsoleItem) => void, step: Step | null = null) {
		this.#prefix = `\x1e${nonce} `;
		this.#emit = emit;
		this.#step = step;
	}

	/** @param endOffset where in the console `chunk` ends */
	push(chunk: Buffer, endOffset: number): void {
		const base = endOffset - chunk.length;
		let start = 0;
		for (let i = 0; i < chunk.length; i++) {
			if (chunk[i] === recordSeparator) {
				// A report begins a line of its own even where the output before it did not end one.
				this.#add(chunk.subarray(start, i));
				if (this.#pendingBytes > 0) this.#flush(base + i);
				start = i;
			} else if (chunk[i] === newline) {
				this.#add(chunk.subarray(start, i));
				this.#flush(base + i + 1);
				start = i + 1;
			}
		}
		this.#add(chunk.subarray(start));
		if (this.#pendingBytes > maxLineBytes) this.#flush(endOffset);
	}

	/**
	 * As `push`, but reads reports only, without looking at each byte: for what is printed faster than anybody can read it.
	 */
	skim(chunk: Buffer, endOffset: number): void {
		const bytes = Buffer.concat([...this.#pending, chunk]);
		const prefix = Buffer.from(this.#prefix);
		let at = 0;
		for (;;) {
			const begin = bytes.indexOf(prefix, at);
			const end = begin < 0 ? -1 : bytes.indexOf(newline, begin);
			if (end < 0) {
				// It may go on in the next chunk, and so may a prefix.
				const from = Math.max(at, bytes.length - prefix.length + 1);
				const rest = begin < 0 ? bytes.indexOf(recordSeparator, from) : begin;
				const keeps = rest >= 0 && bytes.length - rest <= maxLineBytes;
				this.#pending = keeps ? [bytes.subarray(rest)] : [];
				this.#pendingBytes = keeps ? bytes.length - rest : 0;
				return;
			}
			this.#pending = [bytes.subarray(begin, end)];
			this.#flush(endOffset - bytes.length + end + 1);
			at = end + 1;
		}
	}

	/** The run is over: what is left is a line. */
	end(endOffset: number): void {
		if (this.#pendingBytes > 0) this.#flush(endOffset);
	}

	#add(part: Buffer): void {
		if (part.length === 0) return;
		this.#pending.push(part);
		this.#pendingBytes += part.length;
	}

	#flush(endOffset: number): void {
		const text = Buffer.concat(this.#pending).toString("utf8").replace(/\r$/, "");
		this.#pending = [];
		this.#pendingBytes = 0;
		const report = text.startsWith(this.#prefix) ? parseReport(text.slice(this.#prefix.length)) : undefined;
		// Of a run before this one, whose last reports were left unread when it ended.
		if (report === undefined && text.startsWith("\x1e") && anyNonce.test(text.slice(1, 34))) return;
		if (report === undefined) {
			this.#emit({ kind: "line", text, during: this.#step, endOffset });
			return;
		}
		this.#step = stepAfter(report);
		this.#emit({ kind: "report", report, endOffset });
	}
}

function stepAfter(report: Report): Step | null {
	if (report.event === "begin") return report.step;
	return report.event === "failed" ? { name: "failed", index: 0 } : null;
}

function parseReport(text: string): Report | undefined {
	if (text === "initialized" || text === "stopped") return { event: text };
	const failed = /^failed (\w+)$/.exec(text);
	if (failed) return { event: "failed", what: failed[1]! };
	const step = /^(launch|suspend|entrypoint)(?: (\d+))? (?:(begin)|end (\d+))$/.exec(text);
	if (!step) return undefined;
	const about: Step = { name: step[1] as Step["name"], index: Number(step[2] ?? 0) };
	return step[3] ? { event: "begin", step: about } : { event: "end", step: about, exitCode: Number(step[4]) };
}
