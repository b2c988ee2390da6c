import { expect, test } from "vitest";
import { type IdempotencyKey, IdempotencyKeys } from "./idempotency.js";
import { openTestStore } from "./store.fixture.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const call: IdempotencyKey = { apiKeyId: "key_1", key: "request-1" };
const route = "POST /v1/devboxes";

async function setUp() {
	const store = await openTestStore();
	const clock = { now: 1_000_000 };
	return { store, clock, keys: new IdempotencyKeys(store, store.seal, () => clock.now) };
}

test("of concurrent calls exactly one is the first", async () => {
	const { keys } = await setUp();
	const claims = await Promise.all(Array.from({ length: 20 }, () => keys.claim(call, route)));
	expect(claims.filter((claim) => claim.state === "new")).toHaveLength(1);
	expect(claims.find((claim) => claim.state !== "new")).toEqual({ state: "unfinished", route, devboxId: null });
});

test("the key of one API key says nothing about another's", async () => {
	const { keys } = await setUp();
	await keys.claim(call, route);
	expect(await keys.claim({ ...call, apiKeyId: "key_2" }, route)).toEqual({ state: "new" });
});

test("a repeated call gets the first one's answer, which is stored sealed", async () => {
	const { keys, store } = await setUp();
	await keys.claim(call, route);
	await store.transaction((trx) => keys.attach(trx, call, "dbx_1"));
	await keys.finish(call, { status: 200, body: '{"token":"secret"}' });
	expect(await keys.claim(call, "POST /v1/other")).toEqual({
		state: "finished",
		route,
		answer: { status: 200, body: '{"token":"secret"}' },
	});
	const row = await store.db.selectFrom("idempotency_keys").selectAll().executeTakeFirstOrThrow();
	expect(row.response_body_sealed).not.toContain("secret");
});

test("an attachment goes with its transaction", async () => {
	const { keys, store } = await setUp();
	await keys.claim(call, route);
	const work = store.transaction(async (trx) => {
		await keys.attach(trx, call, "dbx_1");
		throw new Error("no");
	});
	await expect(work).rejects.toThrow("no");
	expect(await keys.claim(call, route)).toMatchObject({ devboxId: null });
});

test("a failed call can be tried again, an answered one cannot", async () => {
	const { keys } = await setUp();
	await keys.claim(call, route);
	await keys.release(call);
	expect(await keys.claim(call, route)).toEqual({ state: "new" });
	await keys.finish(call, { status: 200, body: "" });
	await keys.release(call);
	expect(await keys.claim(call, route)).toMatchObject({ state: "finished", answer: { status: 200, body: "" } });
});

test("a failed call that made a devbox finds it again and makes no second one", async () => {
	const { keys, store } = await setUp();
	await keys.claim(call, route);
	await store.transaction((trx) => keys.attach(trx, call, "dbx_1"));
	await keys.release(call);
	expect(await keys.claim(call, route)).toEqual({ state: "unfinished", route, devboxId: "dbx_1" });
});

test("a day later the key is free", async () => {
	const { keys, clock } = await setUp();
	await keys.claim(call, route);
	await keys.finish(call, { status: 200, body: "" });
	clock.now += DAY_MS - 1;
	expect(await keys.claim(call, route)).toMatchObject({ state: "finished" });
	expect(await keys.deleteExpired()).toBe(0);
	clock.now += 1;
	expect(await keys.claim(call, route)).toEqual({ state: "new" });
	clock.now += DAY_MS;
	expect(await keys.deleteExpired()).toBe(1);
});
