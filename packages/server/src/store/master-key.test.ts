import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadMasterKey } from "./master-key.js";
import { openTestStore } from "./store.fixture.js";

const newKey = () => randomBytes(32).toString("base64");

test("the first start makes a key file for its owner alone, later starts read it", async () => {
	const { db, dataDir } = await openTestStore();
	const file = join(dataDir, "master.key");
	const [key] = await loadMasterKey({ dataDir, db });
	expect(key).toHaveLength(32);
	expect(statSync(file).mode & 0o777).toBe(0o600);
	expect(readFileSync(file, "utf8")).toBe(`${key?.toString("base64")}\n`);
	expect(await loadMasterKey({ dataDir, db })).toEqual([key]);
});

test.each([0o640, 0o604, 0o622])("a key file of mode %o is refused", async (mode) => {
	const { db, dataDir } = await openTestStore();
	await loadMasterKey({ dataDir, db });
	chmodSync(join(dataDir, "master.key"), mode);
	await expect(loadMasterKey({ dataDir, db })).rejects.toMatchObject({
		code: "config",
		message: expect.stringContaining("chmod 600"),
	});
});

test("a missing key file is not replaced once secrets are sealed with it", async () => {
	const { db, dataDir } = await openTestStore();
	await loadMasterKey({ dataDir, db });
	const file = join(dataDir, "master.key");
	rmSync(file);
	await expect(loadMasterKey({ dataDir, db })).rejects.toMatchObject({ code: "wrong_master_key" });
	expect(existsSync(file)).toBe(false);
});

test("a configured key is used and no file is made", async () => {
	const { db, dataDir } = await openTestStore();
	const key = randomBytes(32);
	expect(await loadMasterKey({ dataDir, db, masterKey: key.toString("base64") })).toEqual([key]);
	expect(await loadMasterKey({ dataDir, db, masterKey: key.toString("hex") })).toEqual([key]);
	expect(existsSync(join(dataDir, "master.key"))).toBe(false);
});

test("a wrong key stops the start", async () => {
	const { db, dataDir } = await openTestStore();
	await loadMasterKey({ dataDir, db });
	await expect(loadMasterKey({ dataDir, db, masterKey: newKey() })).rejects.toMatchObject({ code: "wrong_master_key" });
	writeFileSync(join(dataDir, "master.key"), newKey());
	await expect(loadMasterKey({ dataDir, db })).rejects.toMatchObject({ code: "wrong_master_key" });
});

test("a rotation keeps needing the old key", async () => {
	const { db, dataDir } = await openTestStore();
	const [first, second] = [newKey(), newKey()];
	await loadMasterKey({ dataDir, db, masterKey: first });
	expect(await loadMasterKey({ dataDir, db, masterKey: `${second}, ${first}` })).toHaveLength(2);
	for (const alone of [first, second]) {
		await expect(loadMasterKey({ dataDir, db, masterKey: alone })).rejects.toMatchObject({ code: "wrong_master_key" });
	}
});

test("a malformed key is refused without being shown", async () => {
	const { db, dataDir } = await openTestStore();
	for (const masterKey of ["", "hunter2hunter2", `${newKey()},`, randomBytes(16).toString("base64")]) {
		await expect(loadMasterKey({ dataDir, db, masterKey })).rejects.toMatchObject({
			code: "config",
			message:
				"master_key: the value (not shown) is not a master key; allowed: base64 or hex of 32 bytes, as `openssl rand -base64 32` prints",
		});
	}
});

test("a damaged check value stops the start", async () => {
	const { db, dataDir } = await openTestStore();
	await loadMasterKey({ dataDir, db });
	await db.updateTable("installation").set({ value: "v1.x.y" }).execute();
	await expect(loadMasterKey({ dataDir, db })).rejects.toMatchObject({ code: "damaged" });
});
