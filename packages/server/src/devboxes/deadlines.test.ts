import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestStore } from "../store/store.fixture.js";
import { actor, openTestDevboxes, reachStatus, runningBox, suspendedBox } from "./devboxes.fixture.js";
import type { Devboxes } from "./devboxes.js";
import { FakeRuntime } from "./runtime.fixture.js";

let store: Awaited<ReturnType<typeof openTestStore>>;
let runtime: FakeRuntime;
let devboxes: Devboxes;

beforeEach(async () => {
	store = await openTestStore();
	runtime = new FakeRuntime();
	devboxes = await openTestDevboxes({ store, runtime });
});
afterEach(() => devboxes.close());

const get = (id: string) => devboxes.get(actor, id);

test("a box without them never expires", async () => {
	for (const launchParameters of [{}, { ttlSeconds: 0, hardTtlSeconds: 0 }]) {
		const { id } = await runningBox(devboxes, { launchParameters });
		expect(await get(id)).toMatchObject({ expiresAtMs: null, hardExpiresAtMs: null });
		expect(await devboxes.refresh(actor, id)).toMatchObject({ expiresAtMs: null });
	}
});

test("is suspended when its time is over, and has as much again when it is resumed", async () => {
	const { id, createdAtMs, expiresAtMs } = await runningBox(devboxes, { launchParameters: { ttlSeconds: 1 } });
	expect(expiresAtMs).toBe(createdAtMs + 1_000);
	await reachStatus(devboxes, id, "suspended");
	await devboxes.resume(actor, id);
	expect((await get(id)).expiresAtMs).toBeGreaterThan(expiresAtMs!);
	await reachStatus(devboxes, id, "running");
	await reachStatus(devboxes, id, "suspended");
});

test("is shut down when its life is over, also while it is suspended", async () => {
	const { id } = await suspendedBox(devboxes, { launchParameters: { hardTtlSeconds: 1 } });
	expect(await reachStatus(devboxes, id, "shutdown")).toMatchObject({
		shutdownReason: "keep_alive_timeout",
		hardExpiresAtMs: null,
	});
});

test("a refresh puts the suspend off, to its own duration or the first one", async () => {
	const { id } = await runningBox(devboxes, { launchParameters: { ttlSeconds: 1_000 } });
	const before = Date.now();
	const { expiresAtMs } = await devboxes.refresh(actor, id, 5_000);
	expect(expiresAtMs).toBeGreaterThanOrEqual(before + 5_000_000);
	expect((await devboxes.refresh(actor, id)).expiresAtMs).toBeLessThan(expiresAtMs!);
	await devboxes.refresh(actor, id, 1);
	await reachStatus(devboxes, id, "suspended");
	await expect(devboxes.refresh(actor, id)).rejects.toMatchObject({ code: "conflict" });
});

test("what came due while the daemon was away is done at its start", async () => {
	const soft = await runningBox(devboxes, { launchParameters: { ttlSeconds: 3_600 } });
	const hard = await suspendedBox(devboxes, { launchParameters: { hardTtlSeconds: 3_600 } });
	await devboxes.close();
	await store.db.updateTable("devboxes").set({ expires_at_ms: 1 }).where("id", "=", soft.id).execute();
	await store.db.updateTable("devboxes").set({ hard_expires_at_ms: 1 }).where("id", "=", hard.id).execute();
	devboxes = await openTestDevboxes({ store, runtime });
	await reachStatus(devboxes, soft.id, "suspended");
	await reachStatus(devboxes, hard.id, "shutdown");
});

test("a box whose time was over before it ran is suspended as soon as it does", async () => {
	const { id } = await suspendedBox(devboxes, { launchParameters: { ttlSeconds: 3_600 } });
	runtime.onStart = async () => {
		await store.db.updateTable("devboxes").set({ expires_at_ms: 1 }).execute();
		runtime.report(id, "initialized");
	};
	await devboxes.resume(actor, id);
	await reachStatus(devboxes, id, "running");
	await reachStatus(devboxes, id, "suspended");
});
