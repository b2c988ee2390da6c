import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { followConsole } from "./console.js";

it("reads on only when the receiver is ready, however much there is", async () => {
	const directory = await mkdtemp(join(tmpdir(), "gangway-console-"));
	onTestFinished(() => rm(directory, { recursive: true }));
	const path = join(directory, "console.log");
	await writeFile(path, Buffer.alloc(1_000_000, "y\n"));
	let open = 0;
	let most = 0;
	let total = 0;
	const { exited } = followConsole({
		path,
		fromOffset: 0,
		onOutput: async (chunk) => {
			most = Math.max(most, ++open);
			await new Promise((resolve) => setImmediate(resolve));
			open--;
			total += chunk.length;
		},
		ended: Promise.resolve({ outOfMemory: false }),
		keepBytes: 1e9,
		onError: (error) => {
			throw error;
		},
	});
	await exited;
	expect([most, total]).toEqual([1, 1_000_000]);
});
