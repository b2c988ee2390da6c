import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { Seal } from "./seal.js";
import { openStore, type Store } from "./store.js";

/** A directory of the test's own, gone after it. */
export function temporaryDirectory(): string {
	const directory = mkdtempSync(join(tmpdir(), "gangway-test-"));
	onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
	return directory;
}

export interface TestStore extends Store {
	readonly dataDir: string;
	readonly seal: Seal;
	/** The one team that is there, because devboxes must belong to one. */
	readonly teamId: string;
}

/** A real store in a directory of its own, closed after the test. */
export async function openTestStore(): Promise<TestStore> {
	const dataDir = temporaryDirectory();
	const store = await openStore({ dataDir });
	onTestFinished(() => store.close());
	const teamId = "team_test";
	await store.db.insertInto("teams").values({ id: teamId, name: "test", created_at_ms: 0 }).execute();
	return { ...store, dataDir, seal: new Seal(randomBytes(32)), teamId };
}
