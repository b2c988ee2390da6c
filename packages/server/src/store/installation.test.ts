import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { readInstallation, secretStorage, writeInstallation } from "./installation.js";
import { Seal } from "./seal.js";
import { openTestStore } from "./store.fixture.js";

test("plain values are read back and replaced", async () => {
	const { db } = await openTestStore();
	expect(await readInstallation(db, "a")).toBeUndefined();
	await writeInstallation(db, "a", "1");
	await writeInstallation(db, "a", "2");
	expect(await readInstallation(db, "a")).toBe("2");
});

test("secrets are sealed, and open under their own name only", async () => {
	const { db, seal } = await openTestStore();
	const secrets = secretStorage(db, seal);
	expect(await secrets.get("tls-ca")).toBeUndefined();
	await secrets.set("tls-ca", "old");
	await secrets.set("tls-ca", "PRIVATE KEY");
	expect(await secrets.get("tls-ca")).toBe("PRIVATE KEY");

	const stored = await readInstallation(db, "secret:tls-ca");
	expect(stored).not.toContain("PRIVATE");
	await writeInstallation(db, "secret:host-ca", stored ?? "");
	await expect(secrets.get("host-ca")).rejects.toMatchObject({ code: "damaged" });
	await expect(secretStorage(db, new Seal(randomBytes(32))).get("tls-ca")).rejects.toMatchObject({
		code: "wrong_master_key",
	});
});
