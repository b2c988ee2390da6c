import { expect, test } from "vitest";
import { KeyCache } from "./key-cache.js";
import type { Principal } from "./roles.js";

const principal: Principal = { apiKeyId: "key_1", userId: "usr_1", teamId: "team_1", role: "member" };

test("is bounded: the oldest goes first", () => {
	const cache = new KeyCache(() => 0);
	for (let n = 0; n < 1_001; n++) cache.set(String(n), principal, cache.epoch);
	expect(cache.get("0")).toBeUndefined();
	expect(cache.get("1")).toBe(principal);
	expect(cache.get("1000")).toBe(principal);
});

test("forgets all at once, and takes nothing that was read before that", () => {
	const cache = new KeyCache(() => 0);
	const { epoch } = cache;
	cache.set("a", principal, epoch);
	cache.clear();
	expect(cache.get("a")).toBeUndefined();
	cache.set("a", principal, epoch);
	expect(cache.get("a")).toBeUndefined();
});

test("forgets after five seconds", () => {
	let now = 0;
	const cache = new KeyCache(() => now);
	cache.set("a", principal, cache.epoch);
	now = 4_999;
	expect(cache.get("a")).toBe(principal);
	now = 5_000;
	expect(cache.get("a")).toBeUndefined();
});
