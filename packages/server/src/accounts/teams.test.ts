import { sql } from "kysely";
import { expect, test } from "vitest";
import { newPublicKey, openTestAccounts } from "./accounts.fixture.js";

test("a user's life", async () => {
	const { accounts, home } = await openTestAccounts();
	const ann = await accounts.users.create("ann");
	expect(ann).toMatchObject({ id: expect.stringMatching(/^usr_/), name: "ann" });
	await expect(accounts.users.create("ann")).rejects.toMatchObject({ code: "conflict" });
	const bob = await accounts.users.rename(ann.id, "bob");
	expect(await accounts.users.get(ann.id)).toEqual(bob);
	expect((await accounts.users.list()).map(({ name }) => name)).toEqual(["admin", "bob"]);
	expect(await accounts.users.list(home.teamId)).toHaveLength(1);
	await expect(accounts.users.rename(ann.id, "admin")).rejects.toMatchObject({ code: "conflict" });
	await accounts.users.delete(ann.id);
	await expect(accounts.users.get(ann.id)).rejects.toMatchObject({ code: "not_found" });
	expect((await accounts.users.create("bob")).name).toBe("bob");
});

test.each(["", "a b", "usr_1", "-x", "ä", "x".repeat(65)])("neither user nor team is called %j", async (name) => {
	const { accounts } = await openTestAccounts();
	await expect(accounts.users.create(name)).rejects.toMatchObject({ code: "bad_request" });
	await expect(accounts.teams.create(name)).rejects.toMatchObject({ code: "bad_request" });
});

test("a deleted user's keys, of either kind, are void at once", async () => {
	const { accounts, home, join, revoked } = await openTestAccounts();
	const ann = await join(home.teamId, "ann", "member");
	await accounts.sshKeys.create(ann, { name: "laptop", publicKey: newPublicKey() });
	expect(await accounts.authenticate(ann.key)).toBeDefined();
	await accounts.users.delete(ann.userId);
	expect(await accounts.authenticate(ann.key)).toBeUndefined();
	expect(await accounts.sshKeys.list(ann.userId)).toEqual([]);
	expect(await accounts.roleIn(ann.userId, home.teamId)).toBeUndefined();
	expect(revoked).toEqual([{ userId: ann.userId }]);
});

test("who is removed from a team is out at once, and coming back does not revive the key", async () => {
	const { accounts, home, join, revoked } = await openTestAccounts();
	const ann = await join(home.teamId, "ann", "member");
	expect(await accounts.authenticate(ann.key)).toMatchObject({ role: "member" });
	expect(await accounts.roleIn(ann.userId, home.teamId)).toBe("member");
	await accounts.teams.removeMember(home.teamId, ann.userId);
	expect(await accounts.authenticate(ann.key)).toBeUndefined();
	expect(await accounts.roleIn(ann.userId, home.teamId)).toBeUndefined();
	expect(revoked).toEqual([{ userId: ann.userId, teamId: home.teamId }]);
	await accounts.teams.addMember(home.teamId, ann.userId, "member");
	expect(await accounts.authenticate(ann.key)).toBeUndefined();
	await expect(accounts.teams.removeMember(home.teamId, "usr_none")).rejects.toMatchObject({ code: "not_found" });
});

test("another role counts at once", async () => {
	const { accounts, home, join, revoked } = await openTestAccounts();
	const ann = await join(home.teamId, "ann", "member");
	await accounts.authenticate(ann.key);
	expect(await accounts.teams.setRole(home.teamId, ann.userId, "viewer")).toMatchObject({
		name: "ann",
		role: "viewer",
	});
	expect(await accounts.authenticate(ann.key)).toMatchObject({ role: "viewer" });
	await accounts.teams.setRole(home.teamId, ann.userId, "viewer");
	expect(revoked).toEqual([{ userId: ann.userId, teamId: home.teamId }]);
});

test("the last admin of a team stays: not removed, not demoted, not deleted", async () => {
	const { accounts, join } = await openTestAccounts();
	const { id } = await accounts.teams.create("red");
	const ann = await join(id, "ann", "admin");
	const last = { code: "conflict", message: expect.stringContaining("the last admin of the team red") };
	await expect(accounts.teams.removeMember(id, ann.userId)).rejects.toMatchObject(last);
	await expect(accounts.teams.setRole(id, ann.userId, "member")).rejects.toMatchObject(last);
	await expect(accounts.users.delete(ann.userId)).rejects.toMatchObject(last);
	const bob = await join(id, "bob", "admin");
	await accounts.teams.setRole(id, ann.userId, "member");
	await expect(accounts.users.delete(bob.userId)).rejects.toMatchObject(last);
	await accounts.users.delete(ann.userId);
	expect((await accounts.teams.members(id)).map(({ name, role }) => [name, role])).toEqual([["bob", "admin"]]);
});

test("a team's life", async () => {
	const { accounts, join, revoked } = await openTestAccounts();
	const red = await accounts.teams.create("red");
	expect(red).toMatchObject({ id: expect.stringMatching(/^team_/), name: "red", passthroughEnabled: true });
	await expect(accounts.teams.create("red")).rejects.toMatchObject({ code: "conflict" });
	const ann = await join(red.id, "ann", "admin");
	await expect(accounts.teams.addMember(red.id, ann.userId, "viewer")).rejects.toMatchObject({ code: "conflict" });
	await expect(accounts.teams.addMember(red.id, "usr_none", "viewer")).rejects.toMatchObject({ code: "not_found" });
	expect(await accounts.teams.update(red.id, { name: "blue" })).toMatchObject({
		name: "blue",
		passthroughEnabled: true,
	});
	await accounts.teams.delete(red.id);
	expect(revoked).toEqual([{ userId: ann.userId, teamId: red.id }]);
	expect(await accounts.authenticate(ann.key)).toBeUndefined();
	await expect(accounts.teams.get(red.id)).rejects.toMatchObject({ code: "not_found" });
	expect((await accounts.users.get(ann.userId)).name).toBe("ann");
});

test("a team goes with the records of its devboxes, but not before nothing is left of them", async () => {
	const { accounts, store } = await openTestAccounts();
	const { db, teamId } = store;
	await sql`insert into devboxes (id, team_id, created_by, status, runtime, launch_parameters, metadata, boot_sealed, ssh_user, ssh_public_key, ssh_private_key_sealed, host_public_key, host_private_key_sealed, created_at_ms, ran_before_ms, generation, initialized)
		values ('dbx_1', ${teamId}, 'usr_1', 'shutdown', 'linux', '{}', '{}', 'sealed', 'user', '', '', '', '', 0, 0, 1, 1)`.execute(
		db,
	);
	await expect(accounts.teams.delete(teamId)).rejects.toMatchObject({
		code: "conflict",
		message: "the team has devboxes, such as dbx_1: shut them down first",
	});
	await db.updateTable("devboxes").set({ boot_sealed: "" }).execute();
	await accounts.teams.delete(teamId);
	expect(await db.selectFrom("devboxes").selectAll().execute()).toEqual([]);
});

test("a team that switches its passthrough off says so", async () => {
	const { accounts, home } = await openTestAccounts();
	const disabled: string[] = [];
	accounts.onPassthroughDisabled((teamId) => disabled.push(teamId));
	await accounts.teams.update(home.teamId, { name: "main" });
	await accounts.teams.update(home.teamId, { passthroughEnabled: false });
	expect(await accounts.teams.get(home.teamId)).toMatchObject({ name: "main", passthroughEnabled: false });
	expect(disabled).toEqual([home.teamId]);
});
