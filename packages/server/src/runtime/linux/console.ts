import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, readFile, writeFile } from "node:fs/promises";
import type { Attachment, Exit } from "../runtime.js";
import { ifExists } from "./files.js";
import { run } from "./run.js";

const chunkBytes = 64 * 1024;
/** How much is delivered before what was is given back: a box may print without end. */
const roundBytes = 4 * 1024 * 1024;
const pollMs = 500;

export interface FollowOptions {
	readonly path: string;
	readonly fromOffset: number;
	/** The next chunk waits for what it returns. */
	readonly onOutput: (chunk: Buffer, endOffset: number) => unknown;
	/** Resolves when the console's last byte is in the file; never rejects. */
	readonly ended: Promise<Exit>;
	/** Delivered output beyond this many bytes is given back to the disk. */
	readonly keepBytes: number;
	readonly onError: (error: unknown) => void;
}

/**
 * Follows a console file. It only ever grows, so an offset in it stays valid for good; what has been delivered is
 * given back to the disk by punching a hole.
 */
export function followConsole(options: FollowOptions): Attachment {
	const follower = new Follower(options);
	const exited = new Promise<Exit>((resolve) => {
		const settle = (exit: Exit | undefined) => {
			if (exit && !follower.detached) resolve(exit);
		};
		follower.run().then(settle, (error) => {
			options.onError(error);
			// The output is lost to this reader; the end is not.
			options.ended.then(settle);
		});
	});
	return { exited, detach: () => follower.detach() };
}

class Follower {
	readonly #options: FollowOptions;
	#offset: number;
	#keepBytes: number;
	#detached = false;
	#wake: () => void = () => {};
	#changed = false;

	constructor(options: FollowOptions) {
		this.#options = options;
		this.#offset = options.fromOffset;
		this.#keepBytes = options.keepBytes;
	}

	get detached(): boolean {
		return this.#detached;
	}

	detach(): void {
		this.#detached = true;
		this.#notify();
	}

	/** Undefined when detached. */
	async run(): Promise<Exit | undefined> {
		let exit: Exit | undefined;
		this.#options.ended.then((value) => {
			exit = value;
			this.#notify();
		});
		const file = await open(this.#options.path, "r");
		// The timer is for file systems without change notices.
		const timer = setInterval(() => this.#notify(), pollMs);
		const watcher = this.#watch();
		try {
			this.#offset = Math.max(this.#offset, await readHoleEnd(this.#options.path));
			while (!this.#detached) {
				const last = exit;
				const atEnd = await this.#deliver(file);
				if (last && atEnd) return this.#detached ? undefined : last;
				await this.#giveBack(file);
				if (atEnd) await this.#change(() => exit !== undefined);
			}
			return undefined;
		} finally {
			clearInterval(timer);
			watcher?.close();
			await file.close();
		}
	}

	/** A round of what there is; true when that was everything up to the file's present end. */
	async #deliver(file: FileHandle): Promise<boolean> {
		const roundEnd = this.#offset + roundBytes;
		while (!this.#detached && this.#offset < roundEnd) {
			// A new buffer each time: the receiver may keep it.
			const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, this.#offset);
			if (bytesRead === 0 || this.#detached) return true;
			this.#offset += bytesRead;
			await this.#options.onOutput(buffer.subarray(0, bytesRead), this.#offset);
		}
		return this.#detached;
	}

	async #giveBack(file: FileHandle): Promise<void> {
		const { blocks } = await file.stat();
		if (blocks * 512 <= this.#keepBytes || this.#detached) return;
		// First the note, then the hole: who attaches later must not take the hole's zeros for output.
		await writeFile(holeFile(this.#options.path), String(this.#offset));
		const length = ["--offset", "0", "--length", String(this.#offset)];
		try {
			await run("fallocate", ["--punch-hole", ...length, this.#options.path]);
		} catch (error) {
			this.#keepBytes = Number.POSITIVE_INFINITY; // A file system without holes: the console just grows.
			this.#options.onError(error);
		}
	}

	#watch(): FSWatcher | undefined {
		try {
			const watcher = watch(this.#options.path, () => this.#notify());
			watcher.on("error", () => {});
			return watcher;
		} catch {
			return undefined; // No inotify watches left: the timer does it.
		}
	}

	#notify(): void {
		this.#changed = true;
		this.#wake();
	}

	async #change(already: () => boolean): Promise<void> {
		if (!this.#changed && !already() && !this.#detached)
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		this.#changed = false;
	}
}

function holeFile(path: string): string {
	return `${path}.start`;
}

async function readHoleEnd(path: string): Promise<number> {
	return Number((await ifExists(readFile(holeFile(path), "utf8"))) ?? 0) || 0;
}
