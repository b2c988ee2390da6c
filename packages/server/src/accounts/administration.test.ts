import { expect, test } from "vitest";
import { openTestAccounts } from "./accounts.fixture.js";

const forbidden = { code: "forbidden" };
const notFound = { code: "not_found" };
const conflict = { code: "conflict" };

/** A second team with its own admin. */
async function twoTeams() {
	const test = await openTestAccounts();
	const { accounts, join } = test;
	const { id: red } = await accounts.teams.create("red");
	return { ...test, red, ann: await join(red, "ann", "admin"), administration: accounts.administration };
}

test("members and viewers administer nothing", async () => {
	const { administration, home, join } = await twoTeams();
	for (const role of ["member", "viewer"] as const) {
		const who = await join(home.teamId, role, role);
		for (const call of [
			administration.listUsers(who),
			administration.createUser(who, "x"),
			administration.deleteUser(who, home.userId),
			administration.listTeams(who),
			administration.getTeam(who, home.teamId),
			administration.createTeam(who, "x"),
			administration.updateTeam(who, home.teamId, { passthroughEnabled: false }),
			administration.listMembers(who, home.teamId),
			administration.setRole(who, home.teamId, who.userId, "admin"),
			administration.createApiKey(who, home.teamId, { userId: who.userId, name: "x" }),
			administration.listApiKeys(who, home.teamId),
		]) {
			await expect(call).rejects.toMatchObject(forbidden);
		}
	}
});

test("an admin of a team administers that one", async () => {
	const { administration, accounts, ann, red } = await twoTeams();
	const bob = await accounts.users.create("bob");
	expect(await administration.addMember(ann, red, bob.id, "viewer")).toMatchObject({ name: "bob", role: "viewer" });
	expect(await administration.setRole(ann, red, bob.id, "member")).toMatchObject({ role: "member" });
	expect((await administration.listUsers(ann)).map(({ name }) => name)).toEqual(["ann", "bob"]);
	expect((await administration.listTeams(ann)).map(({ name }) => name)).toEqual(["red"]);
	expect(await administration.updateTeam(ann, red, { passthroughEnabled: false })).toMatchObject({ name: "red" });
	const { id } = await administration.createApiKey(ann, red, { userId: ann.userId, name: "ci" });
	await administration.revokeApiKey(ann, red, id);
	expect((await administration.listApiKeys(ann, red)).map(({ name }) => name)).toEqual(["ann", "ci"]);
	await administration.removeMember(ann, red, bob.id);
	expect(await administration.listMembers(ann, red)).toHaveLength(1);
});

test("an admin of a team makes neither users nor teams, and sees no other team", async () => {
	const { administration, ann, home, red } = await twoTeams();
	await expect(administration.createUser(ann, "x")).rejects.toMatchObject(forbidden);
	await expect(administration.renameUser(ann, ann.userId, "x")).rejects.toMatchObject(forbidden);
	await expect(administration.deleteUser(ann, ann.userId)).rejects.toMatchObject(forbidden);
	await expect(administration.createTeam(ann, "x")).rejects.toMatchObject(forbidden);
	await expect(administration.deleteTeam(ann, red)).rejects.toMatchObject(forbidden);
	for (const call of [
		administration.getUser(ann, home.userId),
		administration.getTeam(ann, home.teamId),
		administration.updateTeam(ann, home.teamId, { name: "x" }),
		administration.listMembers(ann, home.teamId),
		administration.addMember(ann, home.teamId, ann.userId, "admin"),
		administration.setRole(ann, home.teamId, home.userId, "viewer"),
		administration.removeMember(ann, home.teamId, home.userId),
		administration.createApiKey(ann, home.teamId, { userId: ann.userId, name: "x" }),
		administration.listApiKeys(ann, home.teamId),
		administration.revokeApiKey(ann, home.teamId, home.apiKeyId),
	]) {
		await expect(call).rejects.toMatchObject(notFound);
	}
});

test("a team's admin cannot act as a member who is in other teams too", async () => {
	const { administration, ann, home, red } = await twoTeams();
	await administration.addMember(ann, red, home.userId, "member");
	const create = administration.createApiKey(ann, red, { userId: home.userId, name: "theirs" });
	await expect(create).rejects.toMatchObject(forbidden);
});

test("an admin of the first team administers all of them", async () => {
	const { administration, accounts, ann, first, red } = await twoTeams();
	const bob = await administration.createUser(first, "bob");
	await administration.addMember(first, red, bob.id, "member");
	const { key } = await administration.createApiKey(first, red, { userId: bob.id, name: "bob's" });
	expect(await accounts.authenticate(key)).toMatchObject({ userId: bob.id, teamId: red, role: "member" });
	expect(await administration.renameUser(first, bob.id, "rob")).toMatchObject({ name: "rob" });
	expect((await administration.listUsers(first)).map(({ name }) => name)).toEqual(["admin", "ann", "rob"]);
	const { id } = await administration.createTeam(first, "blue");
	expect((await administration.listTeams(first)).map(({ name }) => name)).toEqual(["default", "red", "blue", "test"]);
	await administration.deleteTeam(first, id);
	await administration.deleteUser(first, bob.id);
	expect(await administration.getUser(first, ann.userId)).toMatchObject({ name: "ann" });
});

test("the first user stays, and stays admin of the first team", async () => {
	const { administration, first, home, join } = await twoTeams();
	const other = await join(home.teamId, "other", "admin");
	await expect(administration.deleteUser(other, home.userId)).rejects.toMatchObject(conflict);
	await expect(administration.removeMember(other, home.teamId, home.userId)).rejects.toMatchObject(conflict);
	await expect(administration.setRole(other, home.teamId, home.userId, "member")).rejects.toMatchObject(conflict);
	await expect(administration.deleteTeam(first, home.teamId)).rejects.toMatchObject(conflict);
	await administration.removeMember(first, home.teamId, other.userId);
});
