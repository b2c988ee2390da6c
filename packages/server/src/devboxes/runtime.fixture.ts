import type { Attachment, Boot, BootFile, BoxSpec, BoxState, Exit, Runtime, Started } from "../runtime/runtime.js";

type Output = (chunk: Buffer, endOffset: number) => void;

interface FakeBox {
	disk: boolean;
	running: boolean;
	console: Buffer;
	nonce: string;
	followers: { onOutput: Output; resolve: (exit: Exit) => void }[];
}

/**
 * A runtime in memory whose boxes do what a test tells them, and which outlives the `Devboxes` that use it, as real boxes
 * do. `onStart` plays the init script.
 */
export class FakeRuntime implements Runtime {
	readonly name = "linux";
	readonly boxes = new Map<string, FakeBox>();
	readonly calls: string[] = [];
	/** Boot files that running boxes got anew, `<path>: <content>`. */
	readonly replaced: string[] = [];
	onStart: (id: string, boot: Boot) => void | Promise<void> = (id) => this.report(id, "initialized");
	/** Throws (or waits) at a point named `<call>:before` or `<call>:after`. */
	at: (point: string) => void | Promise<void> = () => undefined;

	async open(): Promise<void> {}
	async close(): Promise<void> {}
	async setEdgePorts(): Promise<void> {}

	create(spec: BoxSpec): Promise<void> {
		return this.#call("create", async () => {
			const box = this.boxes.get(spec.id);
			if (box) box.disk = true;
			else {
				this.boxes.set(spec.id, { disk: true, running: false, console: Buffer.alloc(0), nonce: "", followers: [] });
			}
		});
	}

	async start(spec: BoxSpec, boot: Boot): Promise<Started> {
		await this.#call("start", async () => {
			const box = this.#box(spec.id);
			if (!box.disk || box.running) throw new Error("cannot start");
			box.running = true;
			const environment = String(boot.files.find((file) => file.path === "boot.env")?.content);
			box.nonce = /^nonce='(.*)'$/m.exec(environment)![1]!;
			queueMicrotask(() => void this.onStart(spec.id, boot));
		});
		return { address: "10.0.0.2" };
	}

	replaceBootFile(id: string, file: BootFile): Promise<void> {
		return this.#call("replaceBootFile", async () => {
			if (this.boxes.get(id)?.running) this.replaced.push(`${file.path}: ${file.content}`);
		});
	}

	stop(id: string): Promise<void> {
		return this.#call("stop", async () => this.exit(id));
	}

	destroy(id: string): Promise<void> {
		return this.#call("destroy", async () => {
			this.exit(id);
			this.boxes.delete(id);
		});
	}

	async inspect(id: string): Promise<BoxState> {
		const box = this.boxes.get(id);
		if (!box) return { kind: "absent" };
		return box.running ? { kind: "running", address: "10.0.0.2" } : { kind: "stopped" };
	}

	async list(): Promise<string[]> {
		return [...this.boxes.keys()];
	}

	attach(id: string, fromOffset: number, onOutput: Output): Attachment {
		const box = this.#box(id);
		let resolve!: (exit: Exit) => void;
		const exited = new Promise<Exit>((done) => {
			resolve = done;
		});
		const follower = { onOutput, resolve };
		queueMicrotask(() => {
			if (box.console.length > fromOffset) onOutput(box.console.subarray(fromOffset), box.console.length);
			if (box.running) box.followers.push(follower);
			else resolve({ outOfMemory: false });
		});
		return {
			exited,
			detach: () => {
				box.followers = box.followers.filter((other) => other !== follower);
			},
		};
	}

	print(id: string, text: string): void {
		const box = this.boxes.get(id);
		if (!box?.running) return;
		const chunk = Buffer.from(text);
		box.console = Buffer.concat([box.console, chunk]);
		for (const { onOutput } of box.followers) onOutput(chunk, box.console.length);
	}

	/** What the init script says. */
	report(id: string, text: string): void {
		this.print(id, `\x1e${this.boxes.get(id)?.nonce} ${text}\n`);
	}

	/** The process tree ends. */
	exit(id: string, exit: Exit = { outOfMemory: false }): void {
		const box = this.boxes.get(id);
		if (!box?.running) return;
		box.running = false;
		for (const { resolve } of box.followers.splice(0)) resolve(exit);
	}

	#box(id: string): FakeBox {
		const box = this.boxes.get(id);
		if (!box) throw new Error(`no box ${id}`);
		return box;
	}

	async #call(name: string, work: () => Promise<void>): Promise<void> {
		this.calls.push(name);
		await this.at(`${name}:before`);
		await work();
		await this.at(`${name}:after`);
	}
}
