import { expect, test } from "vitest";
import { newPublicKey, openTestAccounts } from "./accounts.fixture.js";
import { parseSshPublicKey } from "./ssh-public-key.js";

const blobOf = (line: string) => parseSshPublicKey(line).blob;

test("a key is kept in one form, listed, found by what it is, and deleted", async () => {
	const { accounts, home, clock, revoked } = await openTestAccounts();
	const line = newPublicKey();
	const key = await accounts.sshKeys.create(home, { name: " laptop ", publicKey: `  ${line}\n` });
	expect(key).toEqual({
		id: expect.stringMatching(/^sshk_[0-9a-hjkmnp-tv-z]{26}$/),
		name: "laptop",
		publicKey: line.trim(),
		keyType: "ssh-ed25519",
		fingerprint: parseSshPublicKey(line).fingerprint,
		comment: "ann@laptop",
		createdAtMs: clock.now,
		updatedAtMs: clock.now,
	});
	expect(await accounts.sshKeys.list(home.userId)).toEqual([key]);
	expect(await accounts.findSshKey("ssh-ed25519", blobOf(line))).toEqual({
		sshKeyId: key.id,
		userId: home.userId,
		publicKeyLine: line.split(" ").slice(0, 2).join(" "),
	});
	await accounts.sshKeys.delete(home, key.id);
	expect(await accounts.findSshKey("ssh-ed25519", blobOf(line))).toBeUndefined();
	expect(revoked).toEqual([{ userId: home.userId, sshKeyId: key.id }]);
	await expect(accounts.sshKeys.delete(home, key.id)).rejects.toMatchObject({ code: "not_found" });
});

test("a key is found only for the algorithm that it is of", async () => {
	const { accounts, home } = await openTestAccounts();
	const line = newPublicKey();
	await accounts.sshKeys.create(home, { name: "laptop", publicKey: line });
	expect(await accounts.findSshKey("ssh-rsa", blobOf(line))).toBeUndefined();
	expect(await accounts.findSshKey("ssh-ed25519", blobOf(newPublicKey()))).toBeUndefined();
});

test("a key is of one user: it cannot be uploaded again, by nobody", async () => {
	const { accounts, home, join } = await openTestAccounts();
	const { userId } = await join(home.teamId, "ann", "member");
	const publicKey = newPublicKey();
	await accounts.sshKeys.create(home, { name: "laptop", publicKey });
	for (const [owner, message] of [
		[home, "you have uploaded this SSH key already"],
		[{ userId }, "another user has uploaded this SSH key: use another, or ask an admin of the first team"],
	] as const) {
		const again = accounts.sshKeys.create(owner, { name: "mine", publicKey });
		await expect(again).rejects.toMatchObject({ code: "conflict", message });
	}
	expect(await accounts.sshKeys.list(userId)).toEqual([]);
});

test("somebody else's key cannot be deleted", async () => {
	const { accounts, home, join } = await openTestAccounts();
	const { userId } = await join(home.teamId, "ann", "admin");
	const { id } = await accounts.sshKeys.create(home, { name: "laptop", publicKey: newPublicKey() });
	await expect(accounts.sshKeys.delete({ userId }, id)).rejects.toMatchObject({ code: "not_found" });
	expect(await accounts.sshKeys.list(home.userId)).toHaveLength(1);
});

test("a user has at most 100", async () => {
	const { accounts, home, store } = await openTestAccounts();
	const { id, ...key } = await accounts.sshKeys.create(home, { name: "0", publicKey: newPublicKey() });
	const row = await store.db.selectFrom("ssh_keys").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
	const more = Array.from({ length: 99 }, (_, n) => ({ ...row, id: `sshk_${n}`, fingerprint_sha256: `SHA256:${n}` }));
	await store.db.insertInto("ssh_keys").values(more).execute();
	expect(key.name).toBe("0");
	await expect(accounts.sshKeys.create(home, { name: "101", publicKey: newPublicKey() })).rejects.toMatchObject({
		code: "conflict",
		message: "you have 100 SSH keys: delete one first",
	});
});

test.each(["", "  ", "a\nb", "a\u009b31m", "a\u202eb", "x".repeat(101)])("a key is not called %j", async (name) => {
	const { accounts, home } = await openTestAccounts();
	const create = accounts.sshKeys.create(home, { name, publicKey: newPublicKey() });
	await expect(create).rejects.toMatchObject({ code: "bad_request", field: "name" });
});
