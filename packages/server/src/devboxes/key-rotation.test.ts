import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestStore } from "../store/store.fixture.js";
import type { Actor } from "./devbox.js";
import { actor, addMember, openTestDevboxes, runningBox, suspendedBox } from "./devboxes.fixture.js";
import type { Devboxes } from "./devboxes.js";
import { Directory } from "./directory.js";
import { labelOf } from "./ids.js";
import { publicKeyOf } from "./keys.js";
import { FakeRuntime } from "./runtime.fixture.js";

let store: Awaited<ReturnType<typeof openTestStore>>;
let runtime: FakeRuntime;
let devboxes: Devboxes;
const ann: Actor = { ...actor, userId: "usr_ann" };

beforeEach(async () => {
	store = await openTestStore();
	runtime = new FakeRuntime();
	devboxes = await openTestDevboxes({ store, runtime });
	await addMember(store, ann.userId);
});
afterEach(() => devboxes.close());

const privateKey = async (id: string, who = actor) => (await devboxes.sshKey(who, id)).privateKeyPem;
const leave = (userId: string) => store.db.deleteFrom("memberships").where("user_id", "=", userId).execute();
const become = (role: "viewer") => store.db.updateTable("memberships").set({ role }).where("user_id", "=", "usr_ann");

/** What sshd of the box was told to take at its last start. */
function authorizedAtStart(): () => string {
	let line = "";
	const { onStart } = runtime;
	runtime.onStart = (id, boot) => {
		line = String(boot.files.find(({ path }) => path === "authorized_keys")?.content);
		return onStart(id, boot);
	};
	return () => line;
}

test("a running box takes the new key, and who came with the old one is dropped after that", async () => {
	const { id } = await runningBox(devboxes);
	const former = await privateKey(id);
	const replacedWhenDropped: number[] = [];
	devboxes.onKeyRotated((rotated) => {
		expect(rotated).toBe(id);
		replacedWhenDropped.push(runtime.replaced.length);
	});
	const { privateKeyPem } = await devboxes.rotateSshKey(actor, id);
	expect(privateKeyPem).not.toBe(former);
	expect(await privateKey(id)).toBe(privateKeyPem);
	expect((await devboxes.sshAccess(id)).privateKeyPem).toBe(privateKeyPem);
	expect(runtime.replaced).toEqual([`authorized_keys: ${publicKeyOf(privateKeyPem)}\n`]);
	expect(replacedWhenDropped).toEqual([1]);
});

test("a suspended box takes it from its next start", async () => {
	const { id } = await suspendedBox(devboxes);
	const authorized = authorizedAtStart();
	const { privateKeyPem } = await devboxes.rotateSshKey(actor, id);
	expect(runtime.replaced).toEqual([]);
	await devboxes.resume(actor, id);
	await devboxes.awaitRunning(id, new AbortController().signal);
	expect(authorized()).toBe(`${publicKeyOf(privateKeyPem)}\n`);
});

test("a box that cannot be told is a 503, and is told later", async () => {
	const { id } = await runningBox(devboxes);
	let failures = 0;
	runtime.at = (point) => {
		if (point === "replaceBootFile:before" && failures++ === 0) throw new Error("disk full");
	};
	await expect(devboxes.rotateSshKey(actor, id)).rejects.toMatchObject({ code: "unavailable" });
	await expect.poll(() => runtime.replaced, { timeout: 10_000 }).toHaveLength(1);
});

test("a daemon that died between storing the key and telling the box tells it at the next start", async () => {
	const { id } = await runningBox(devboxes);
	runtime.at = (point) => {
		if (point === "replaceBootFile:before") throw new Error("the daemon dies");
	};
	await expect(devboxes.rotateSshKey(actor, id)).rejects.toThrow();
	await devboxes.close();
	runtime.at = () => undefined;
	devboxes = await openTestDevboxes({ store, runtime });
	const { privateKeyPem } = await devboxes.sshAccess(id);
	await expect.poll(() => runtime.replaced).toEqual([`authorized_keys: ${publicKeyOf(privateKeyPem)}\n`]);
});

test("a box that has ended has no key to rotate", async () => {
	const { id } = await runningBox(devboxes);
	await devboxes.shutdown(actor, id);
	await expect(devboxes.rotateSshKey(actor, id)).rejects.toMatchObject({ code: "conflict" });
	await expect
		.poll(() => store.db.selectFrom("devboxes").select("ssh_private_key_sealed").execute())
		.toEqual([{ ssh_private_key_sealed: "" }]);
});

test("when somebody leaves, the boxes whose key they had get another one, and no others", async () => {
	const boxes = [await runningBox(devboxes), await suspendedBox(devboxes), await runningBox(devboxes)];
	const [one, two, never] = boxes.map(({ id }) => id) as [string, string, string];
	const before = await Promise.all([one, two, never].map((id) => privateKey(id)));
	await privateKey(one, ann);
	await privateKey(two, ann);
	await leave(ann.userId);
	await devboxes.rotateExposedKeys();
	const after = await Promise.all([one, two, never].map((id) => privateKey(id)));
	expect(after.map((key, n) => key === before[n])).toEqual([false, false, true]);
	await devboxes.rotateExposedKeys();
	expect(await Promise.all([one, two, never].map((id) => privateKey(id)))).toEqual(after);
});

test("who becomes a viewer is treated as who leaves", async () => {
	const { id } = await runningBox(devboxes);
	const before = await privateKey(id, ann);
	await become("viewer").execute();
	await devboxes.rotateExposedKeys();
	expect(await privateKey(id)).not.toBe(before);
});

test("one box that cannot be told keeps no other from its new key", async () => {
	const boxes = [await runningBox(devboxes), await runningBox(devboxes)];
	const before = await Promise.all(boxes.map(({ id }) => privateKey(id, ann)));
	await leave(ann.userId);
	let failures = 0;
	runtime.at = (point) => {
		if (point === "replaceBootFile:before" && failures++ === 0) throw new Error("disk full");
	};
	await devboxes.rotateExposedKeys();
	expect(runtime.replaced).toHaveLength(1);
	const after = await Promise.all(boxes.map(({ id }) => privateKey(id)));
	expect(after.map((key, n) => key === before[n])).toEqual([false, false]);
});

test("a daemon that died before the rotation does it at the next start", async () => {
	const { id } = await runningBox(devboxes);
	const before = await privateKey(id, ann);
	await devboxes.close();
	await leave(ann.userId);
	devboxes = await openTestDevboxes({ store, runtime });
	await expect.poll(() => privateKey(id)).not.toBe(before);
});

test("a key is not handed out to somebody who may not enter, whatever the API key said a moment ago", async () => {
	const { id } = await runningBox(devboxes);
	await become("viewer").execute();
	await expect(devboxes.sshKey(ann, id)).rejects.toMatchObject({ code: "forbidden" });
	await leave(ann.userId);
	await expect(devboxes.sshKey(ann, id)).rejects.toMatchObject({ code: "forbidden" });
	expect(await store.db.selectFrom("ssh_key_fetches").selectAll().execute()).toEqual([]);
});

test("who got a key is noted until it is another", async () => {
	const { id } = await runningBox(devboxes);
	const fetches = async () =>
		(await store.db.selectFrom("ssh_key_fetches").select("user_id").orderBy("user_id").execute()).map((f) => f.user_id);
	await privateKey(id, ann);
	await privateKey(id, ann);
	await privateKey(id);
	expect(await fetches()).toEqual(["usr_1", "usr_ann"]);
	await devboxes.rotateSshKey(actor, id);
	expect(await fetches()).toEqual(["usr_1"]);
});

test("a team that switched its passthrough off is not found by it", async () => {
	const { id } = await runningBox(devboxes);
	const directory = new Directory(devboxes);
	expect(await directory.lookupLabel(labelOf(id))).toMatchObject({ devboxId: id });
	await store.db.updateTable("teams").set({ passthrough_enabled: 0 }).execute();
	expect(await directory.lookupLabel(labelOf(id))).toBeUndefined();
});
