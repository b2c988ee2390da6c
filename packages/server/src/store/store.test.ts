import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { openTestStore, temporaryDirectory } from "./store.fixture.js";
import { openStore, type Store } from "./store.js";

async function pragma(store: Store, name: string): Promise<unknown> {
	const { rows } = await sql<Record<string, unknown>>`pragma ${sql.raw(name)}`.execute(store.db);
	return Object.values(rows[0] ?? {})[0];
}

const mode = (path: string) => statSync(path).mode & 0o777;

test("commits survive a power loss: WAL with synchronous FULL", async () => {
	const store = await openTestStore();
	expect(await pragma(store, "journal_mode")).toBe("wal");
	expect(await pragma(store, "synchronous")).toBe(2);
});

test("foreign keys hold and a busy database is waited for", async () => {
	const store = await openTestStore();
	expect(await pragma(store, "foreign_keys")).toBe(1);
	expect(await pragma(store, "busy_timeout")).toBe(5000);
	await expect(
		store.db
			.insertInto("memberships")
			.values({ team_id: "nowhere", user_id: "nobody", role: "admin", created_at_ms: 0 })
			.execute(),
	).rejects.toThrow("FOREIGN KEY");
});

test("only the owner may read the files of the store", async () => {
	const dataDir = join(temporaryDirectory(), "a", "b");
	const store = await openStore({ dataDir });
	onTestFinished(() => store.close());
	expect(mode(dataDir)).toBe(0o700);
	const files = readdirSync(dataDir);
	expect(files.sort()).toEqual(["gangway.db", "gangway.db-shm", "gangway.db-wal", "lock.db"]);
	for (const file of files) expect([file, mode(join(dataDir, file))]).toEqual([file, 0o600]);
});

test("a database that others could read is closed to them", async () => {
	const dataDir = temporaryDirectory();
	await (await openStore({ dataDir })).close();
	chmodSync(join(dataDir, "gangway.db"), 0o644);
	await (await openStore({ dataDir })).close();
	expect(mode(join(dataDir, "gangway.db"))).toBe(0o600);
});

test("what was written is there after the next open", async () => {
	const dataDir = temporaryDirectory();
	const first = await openStore({ dataDir });
	await first.db.insertInto("teams").values({ id: "team_1", name: "one", created_at_ms: 1_900_000_000_000 }).execute();
	await first.close();
	await first.close();
	const second = await openStore({ dataDir });
	onTestFinished(() => second.close());
	expect(await second.db.selectFrom("teams").selectAll().execute()).toEqual([
		{ id: "team_1", name: "one", created_at_ms: 1_900_000_000_000, passthrough_enabled: 1 },
	]);
});

test("a failed transaction leaves nothing", async () => {
	const store = await openTestStore();
	const work = store.transaction(async (trx) => {
		await trx.insertInto("teams").values({ id: "team_1", name: "one", created_at_ms: 0 }).execute();
		throw new Error("no");
	});
	await expect(work).rejects.toThrow("no");
	expect(await store.db.selectFrom("teams").select("id").execute()).toEqual([{ id: store.teamId }]);
});

test("a second store on the data directory is refused, and does not break the first one's lock", async () => {
	const store = await openTestStore();
	const refusal = { code: "locked", message: expect.stringContaining(store.dataDir) };
	await expect(openStore({ dataDir: store.dataDir })).rejects.toMatchObject(refusal);
	await expect(openStore({ dataDir: store.dataDir })).rejects.toMatchObject(refusal);
	const child = await openInChild(store.dataDir);
	expect(child.firstLine).toContain("locked");
});

test("a second data directory cannot use the same database", async () => {
	const directory = temporaryDirectory();
	const url = `sqlite:${join(directory, "shared", "x.db")}`;
	const store = await openStore({ dataDir: join(directory, "one"), url });
	onTestFinished(() => store.close());
	await expect(openStore({ dataDir: join(directory, "two"), url })).rejects.toMatchObject({ code: "locked" });
	await store.close();
	await (await openStore({ dataDir: join(directory, "two"), url })).close();
});

test("the lock goes with a killed process", async () => {
	const dataDir = temporaryDirectory();
	const { process: child, firstLine } = await openInChild(dataDir);
	expect(firstLine).toBe("open");
	await expect(openStore({ dataDir })).rejects.toMatchObject({ code: "locked" });
	child.kill("SIGKILL");
	await once(child, "exit");
	const store = await openStore({ dataDir });
	expect(await store.db.selectFrom("installation").selectAll().execute()).toEqual([{ key: "child", value: "here" }]);
	await store.close();
});

test("a store that a newer gangway wrote is refused, and the refusal keeps no lock", async () => {
	const dataDir = temporaryDirectory();
	await (await openStore({ dataDir })).close();
	const database = new Database(join(dataDir, "gangway.db"));
	database.exec("insert into schema_migrations values (99, 'from the future', 0)");
	database.close();
	for (let time = 0; time < 2; time++) {
		await expect(openStore({ dataDir })).rejects.toMatchObject({ code: "newer_schema" });
	}
});

test("a file that is no database is refused", async () => {
	const dataDir = temporaryDirectory();
	writeFileSync(join(dataDir, "gangway.db"), "no database ".repeat(1000));
	await expect(openStore({ dataDir })).rejects.toMatchObject({ code: "damaged" });
	await expect(openStore({ dataDir })).rejects.toMatchObject({ code: "damaged" });
});

test("a data directory that cannot be used is a line about the setting", async () => {
	const directory = temporaryDirectory();
	const line = (dataDir: string, problem: string) => ({
		code: "config",
		message: `data_dir: "${dataDir}" cannot be used (${problem}); allowed: a directory that gangway may write to`,
	});
	const file = join(directory, "file");
	writeFileSync(file, "");
	await expect(openStore({ dataDir: file })).rejects.toMatchObject(line(file, "EEXIST"));
	await expect(openStore({ dataDir: join(file, "x") })).rejects.toMatchObject(line(join(file, "x"), "ENOTDIR"));
	await expect(openStore({ dataDir: "/proc/gangway" })).rejects.toMatchObject(line("/proc/gangway", "ENOENT"));
	mkdirSync(join(directory, "gangway.db"));
	await expect(openStore({ dataDir: directory })).rejects.toMatchObject(line(directory, "SQLITE_CANTOPEN"));
});

test("a lock file that is no database is refused", async () => {
	const dataDir = temporaryDirectory();
	writeFileSync(join(dataDir, "lock.db"), "no database ".repeat(1000));
	await expect(openStore({ dataDir })).rejects.toMatchObject({ code: "damaged" });
});

test("other databases are refused before anything is made", async () => {
	const dataDir = join(temporaryDirectory(), "data");
	const open = openStore({ dataDir, url: "postgres://user:secret@db/gangway" });
	await expect(open).rejects.toMatchObject({ code: "config", message: expect.not.stringContaining("secret") });
	expect(existsSync(dataDir)).toBe(false);
});

/** The real store in a process of its own; its first line is `open` or the error's code. */
async function openInChild(dataDir: string) {
	const module = fileURLToPath(new URL("./store.ts", import.meta.url));
	const script = `
		const { runnerImport } = await import("vite");
		const { module } = await runnerImport(${JSON.stringify(module)}, { logLevel: "silent", configFile: false });
		try {
			const store = await module.openStore({ dataDir: ${JSON.stringify(dataDir)} });
			await store.db.insertInto("installation").values({ key: "child", value: "here" }).execute();
			console.log("open");
			setInterval(() => {}, 1000);
		} catch (error) {
			console.log(error.code, error.message);
		}`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
		cwd: fileURLToPath(new URL("../../../..", import.meta.url)),
		stdio: ["ignore", "pipe", "inherit"],
	});
	onTestFinished(() => void child.kill("SIGKILL"));
	const [line] = (await once(child.stdout, "data")) as [Buffer];
	return { process: child, firstLine: line.toString().trim() };
}

test("a transaction for which there is no space says so, and the next one works", async () => {
	const store = await openTestStore();
	const team = (id: string, name: string) =>
		store.transaction((trx) => trx.insertInto("teams").values({ id, name, created_at_ms: 0 }).execute());
	await sql`PRAGMA max_page_count = 1`.execute(store.db);
	await expect(team("team_big", "x".repeat(1_000_000))).rejects.toMatchObject({ code: "SQLITE_FULL" });
	await sql`PRAGMA max_page_count = 100000`.execute(store.db);
	await team("team_small", "x");
});
