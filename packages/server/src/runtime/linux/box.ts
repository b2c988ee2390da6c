import { randomBytes } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Exit } from "../runtime.js";
import { type Layer, makeDisk } from "./disk.js";
import { readJson, syncDirectory, writeJson } from "./files.js";
import type { BoxProcesses } from "./launcher.js";
import type { BoxRun } from "./run-of-box.js";

/** What a box keeps over its life, in `box.json`. */
export interface BoxFacts {
	/** Its place in the installation's network. */
	readonly host: number;
	/** Name of its snapshot of `/etc`: the layer below its own changes must stay the same. */
	readonly etc: string;
}

/** What is known of a box's last start, in `run.json`. */
export type RunFacts =
	| { readonly kind: "running"; readonly bootId: string; readonly processes: BoxProcesses }
	| { readonly kind: "ended"; readonly exit: Exit };

/**
 * A box's directory:
 *
 *     box.json      BoxFacts
 *     run.json      RunFacts
 *     console.log   everything it ever printed
 *     disk/         see disk.ts
 */
export class Box {
	readonly id: string;
	readonly directory: string;
	readonly facts: BoxFacts;
	run: BoxRun | undefined;
	lastExit: Exit = { outOfMemory: false };

	private constructor(directory: string, id: string, facts: BoxFacts) {
		this.directory = directory;
		this.id = id;
		this.facts = facts;
	}

	/** Makes the box whole or not at all: it is put together under a name that no box has. */
	static async create(directory: string, id: string, facts: BoxFacts, layers: readonly Layer[]): Promise<Box> {
		const parent = dirname(directory);
		const temporary = join(parent, `.new-${id}-${randomBytes(4).toString("hex")}`);
		await mkdir(temporary, { mode: 0o700 });
		await makeDisk(join(temporary, "disk"), layers);
		await writeFile(join(temporary, "console.log"), "", { mode: 0o600 });
		await writeJson(join(temporary, "box.json"), facts, { durable: true });
		await rename(temporary, directory);
		await syncDirectory(parent);
		return new Box(directory, id, facts);
	}

	/** Undefined when there is no box in the directory. */
	static async load(directory: string, id: string): Promise<Box | undefined> {
		const facts = (await readJson(join(directory, "box.json"))) as Partial<BoxFacts> | undefined;
		if (typeof facts?.host !== "number" || typeof facts.etc !== "string") return undefined;
		return new Box(directory, id, { host: facts.host, etc: facts.etc });
	}

	get disk(): string {
		return join(this.directory, "disk");
	}

	get console(): string {
		return join(this.directory, "console.log");
	}

	async readRun(): Promise<RunFacts | undefined> {
		return (await readJson(join(this.directory, "run.json"))) as RunFacts | undefined;
	}

	/** Need not survive a crash of the host: nothing of the run does. */
	async writeRun(facts: RunFacts): Promise<void> {
		await writeJson(join(this.directory, "run.json"), facts, { durable: false });
	}
}
