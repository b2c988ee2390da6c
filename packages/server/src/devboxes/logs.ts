import { appendFile, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LogEntry } from "./devbox.js";

/** A log file that grows past this becomes the older half; the half before that is dropped. */
const maxFileBytes = 4 * 1024 * 1024;
/** What waits for the disk, at most, a chunk of the console of nothing but short lines; lines beyond are dropped and counted. */
const maxPendingBytes = 8 * 1024 * 1024;

interface StoredEntry extends LogEntry {
	/** Where in the console this entry ends, so that a restarted daemon goes on from there. */
	readonly offset: number;
}

/**
 * What devboxes printed while they started and ran, one file of JSON lines for each. It outlives the box's disk, so that
 * a box that failed can say why.
 */
export class DevboxLogs {
	readonly #directory: string;
	readonly #onError: (devboxId: string, error: unknown) => void;
	readonly #writers = new Map<string, LogWriter>();

	/** @param onError called once when a log cannot be written, and again only after it could be */
	constructor(dataDir: string, onError: (devboxId: string, error: unknown) => void) {
		this.#directory = join(dataDir, "logs");
		this.#onError = onError;
	}

	/** Resolves when it is written, or given up. Never rejects: a full disk must not keep a box from stopping. */
	append(devboxId: string, entry: LogEntry, offset: number): Promise<void> {
		let writer = this.#writers.get(devboxId);
		if (!writer) {
			writer = new LogWriter(this.#file(devboxId), (error) => this.#onError(devboxId, error));
			this.#writers.set(devboxId, writer);
		}
		return writer.append({ ...entry, offset });
	}

	/** Resolves when nothing waits for the disk. */
	async flushed(devboxId: string): Promise<void> {
		await this.#writers.get(devboxId)?.flushed();
	}

	/** Oldest first. */
	async read(devboxId: string): Promise<LogEntry[]> {
		await this.flushed(devboxId);
		return (await this.#entries(devboxId)).map(({ offset: _, ...entry }) => entry);
	}

	/** Where in the console to go on reading. */
	async lastOffset(devboxId: string): Promise<number> {
		return (await this.#entries(devboxId)).at(-1)?.offset ?? 0;
	}

	/** The box has stopped: nothing more will come for now. */
	async release(devboxId: string): Promise<void> {
		const writer = this.#writers.get(devboxId);
		this.#writers.delete(devboxId);
		await writer?.flushed();
	}

	/** Removes logs that nobody wrote to since `beforeMs` and that `isEnded` says are of ended devboxes. */
	async sweep(beforeMs: number, isEnded: (devboxId: string) => Promise<boolean>): Promise<void> {
		for (const name of await readdir(this.#directory).catch(() => [])) {
			const path = join(this.#directory, name);
			const old = (await stat(path).catch(() => undefined))?.mtimeMs ?? Number.POSITIVE_INFINITY;
			if (old < beforeMs && (await isEnded(name.split(".")[0]!))) await rm(path, { force: true });
		}
	}

	async #entries(devboxId: string): Promise<StoredEntry[]> {
		const file = this.#file(devboxId);
		const halves = await Promise.all([`${file}.1`, file].map((path) => readFile(path, "utf8").catch(() => "")));
		return halves
			.join("")
			.split("\n")
			.flatMap((line) => parseEntry(line));
	}

	#file(devboxId: string): string {
		return join(this.#directory, `${devboxId}.ndjson`);
	}
}

/** A crash may have cut the last line short: such a line is left out. */
function parseEntry(line: string): StoredEntry[] {
	if (line === "") return [];
	try {
		return [JSON.parse(line) as StoredEntry];
	} catch {
		return [];
	}
}

class LogWriter {
	readonly #file: string;
	readonly #onError: (error: unknown) => void;
	#pending: string[] = [];
	#pendingBytes = 0;
	#dropped = 0;
	#size: number | undefined;
	#fails = false;
	#writing: Promise<void> = Promise.resolve();

	constructor(file: string, onError: (error: unknown) => void) {
		this.#file = file;
		this.#onError = onError;
	}

	append(entry: StoredEntry): Promise<void> {
		if (this.#pendingBytes > maxPendingBytes) {
			this.#dropped++;
			return this.#writing;
		}
		const line = `${JSON.stringify(entry)}\n`;
		this.#pending.push(line);
		this.#pendingBytes += Buffer.byteLength(line);
		if (this.#pending.length === 1) this.#writing = this.#writing.then(() => this.#write(entry));
		return this.#writing;
	}

	flushed(): Promise<void> {
		return this.#writing;
	}

	async #write(last: StoredEntry): Promise<void> {
		if (this.#dropped > 0) {
			const message = `${this.#dropped} lines are missing here: they came faster than the disk took them`;
			this.#pending.push(`${JSON.stringify({ ...last, level: "error", message })}\n`);
			this.#dropped = 0;
		}
		const lines = this.#pending;
		this.#pending = [];
		this.#pendingBytes = 0;
		try {
			await this.#put(lines.join(""));
			this.#fails = false;
		} catch (error) {
			this.#dropped += lines.length;
			// Part of it may be there.
			this.#size = undefined;
			if (!this.#fails) this.#onError(error);
			this.#fails = true;
		}
	}

	async #put(text: string): Promise<void> {
		this.#size ??= await this.#repair();
		await appendFile(this.#file, text, { mode: 0o600 });
		this.#size += Buffer.byteLength(text);
		if (this.#size > maxFileBytes) {
			await rename(this.#file, `${this.#file}.1`);
			this.#size = 0;
		}
	}

	/** Ends a line that a crash cut short, so that the next one is whole. */
	async #repair(): Promise<number> {
		await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
		const handle = await open(this.#file, "a+", 0o600);
		try {
			const { size } = await handle.stat();
			const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, Math.max(0, size - 1));
			if (size > 0 && buffer[0] !== 0x0a) await handle.appendFile("\n");
			return size;
		} finally {
			await handle.close();
		}
	}
}
