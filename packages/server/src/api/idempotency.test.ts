import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InvalidError } from "../errors.js";
import { fakeApi, gate, otherKey } from "./fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
beforeEach(async () => {
	fake = await fakeApi({ limits: { createHoldMs: 5000 } });
});
afterEach(() => fake.api.close());

const key = { "x-request-id": "k1" };
const create = (body: object = {}, headers: Record<string, string> = key) => fake.post("/v1/devboxes", body, headers);

describe("a repeated POST", () => {
	test("answers what the first did and makes nothing", async () => {
		const first = await create({ name: "a" });
		fake.devboxes.change(first.json().id, { name: "changed" });
		const again = await create({ name: "a" });
		expect([again.statusCode, again.body]).toEqual([first.statusCode, first.body]);
		expect(fake.devboxes.boxes).toHaveLength(1);
	});

	test("waits for the first while that is at work", async () => {
		const held = gate();
		fake.devboxes.gate = held.promise;
		const answers = [create(), create(), create()];
		await expect.poll(() => fake.devboxes.calls).toEqual(["create"]);
		held.open();
		const bodies = (await Promise.all(answers)).map(({ body }) => body);
		expect(new Set(bodies).size).toBe(1);
		expect(fake.devboxes.boxes).toHaveLength(1);
	});

	test("tries again when the first failed", async () => {
		fake.devboxes.failNext = new InvalidError("name", "is taken");
		expect((await create()).statusCode).toBe(400);
		expect(fake.idempotency.entries.size).toBe(0);
		expect((await create()).statusCode).toBe(200);
	});

	test("that waited for a first which failed does the work itself", async () => {
		fake.devboxes.failNext = new Error("boom");
		const statuses = await Promise.all([create(), create()]);
		expect(statuses.map(({ statusCode }) => statusCode)).toEqual([500, 200]);
		expect(fake.devboxes.boxes).toHaveLength(1);
	});

	test("is one for each API key", async () => {
		await create();
		await create({}, { ...key, authorization: `Bearer ${otherKey}` });
		expect(fake.devboxes.boxes).toHaveLength(2);
	});

	test("holds for every other call too", async () => {
		const { id } = (await create()).json();
		await fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["running"] });
		const suspend = () => fake.post(`/v1/devboxes/${id}/suspend`, undefined, { "x-request-id": "k2" });
		const first = await suspend();
		await fake.post(`/v1/devboxes/${id}/wait_for_status`, { statuses: ["suspended"] });
		expect((await suspend()).body).toBe(first.body);
		expect(fake.devboxes.calls.filter((call) => call === "suspend")).toHaveLength(1);
	});
});

test("without a key every POST is its own", async () => {
	await create({}, {});
	await create({}, { "x-request-id": "" });
	expect(fake.devboxes.boxes).toHaveLength(2);
	expect(fake.idempotency.entries.size).toBe(0);
});

test("a key that was used for another call is refused, at work or answered", async () => {
	const refused = {
		message: "x-request-id: was used for POST /v1/devboxes before; each call needs its own",
		code: "bad_request",
	};
	const held = gate();
	fake.devboxes.gate = held.promise;
	const first = create();
	await expect.poll(() => fake.devboxes.calls).toEqual(["create"]);
	expect((await fake.post("/v1/devboxes/create_and_await_running", {}, key)).json()).toEqual(refused);
	held.open();
	await first;
	expect((await fake.post("/v1/devboxes/create_and_await_running", {}, key)).json()).toEqual(refused);
});

test("a key may have 256 characters and no more", async () => {
	expect((await create({}, { "x-request-id": "k".repeat(256) })).statusCode).toBe(200);
	const response = await create({}, { "x-request-id": "k".repeat(257) });
	expect([response.statusCode, response.json().message]).toEqual([
		400,
		"x-request-id: must have at most 256 characters",
	]);
});

describe("after a crash", () => {
	const leave = (devboxId: string | null, route = "POST /v1/devboxes") =>
		fake.idempotency.entries.set("key_1 k1", { route, devboxId });

	test("a repeat finds the devbox that the first had made", async () => {
		const { id } = (await create({}, {})).json();
		leave(id);
		expect((await create()).json().id).toBe(id);
		expect((await create()).json().id).toBe(id);
		expect(fake.devboxes.boxes).toHaveLength(1);
	});

	test("a repeat makes the devbox when the first had not come so far", async () => {
		leave(null);
		expect((await create()).statusCode).toBe(200);
		expect(fake.devboxes.boxes).toHaveLength(1);
	});

	test("create_and_await_running goes on waiting for the same devbox", async () => {
		fake.devboxes.bootsTo = undefined;
		const { id } = (await create({}, {})).json();
		leave(id, "POST /v1/devboxes/create_and_await_running");
		const again = fake.post("/v1/devboxes/create_and_await_running", {}, key);
		await expect.poll(() => fake.devboxes.calls).toContain("waitForStatus");
		fake.devboxes.boot(id, "running");
		expect((await again).json()).toMatchObject({ id, status: "running" });
	});

	test("a create that failed after its transaction makes no second devbox", async () => {
		fake.devboxes.afterCommit = () => Promise.reject(new Error("the runtime went away"));
		expect((await create()).statusCode).toBe(500);
		const again = await create();
		expect([again.statusCode, fake.devboxes.boxes.length]).toEqual([200, 1]);
	});
});

test("a repeat of create_and_await_running waits for the same devbox, and sees how far it is", async () => {
	await fake.api.close();
	fake = await fakeApi({ limits: { createHoldMs: 20 } });
	fake.devboxes.bootsTo = undefined;
	const first = (await fake.post("/v1/devboxes/create_and_await_running", {}, key)).json();
	expect(first.status).toBe("provisioning");
	fake.devboxes.boot(first.id, "running");
	const again = (await fake.post("/v1/devboxes/create_and_await_running", {}, key)).json();
	expect(again).toMatchObject({ id: first.id, status: "running" });
});

test("an answer that could not be kept is given all the same", async () => {
	fake.idempotency.finish = () => Promise.reject(new Error("disk full"));
	const { id } = (await create()).json();
	expect((await create()).json().id).toBe(id);
	expect(fake.devboxes.boxes).toHaveLength(1);
});
