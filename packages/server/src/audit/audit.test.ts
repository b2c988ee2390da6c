import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openTestStore, type TestStore } from "../store/store.fixture.js";
import { Audit } from "./audit.js";
import type { AuditEvent } from "./event.js";

const day = 24 * 60 * 60 * 1000;
const fetched: AuditEvent = {
	action: "devbox_key.fetched",
	actor: { userId: "usr_1", apiKeyId: "key_1", teamId: "team_test", peerAddress: "::ffff:192.0.2.7" },
	devboxId: "dbx_1",
};
const denied: AuditEvent = { action: "ssh.denied", outcome: "denied" };

let store: TestStore;
let logLines: string[];
let audit: Audit;
beforeEach(async () => {
	store = await openTestStore();
	logLines = [];
	vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"], now: 1e12 });
	const log = pino({}, { write: (line: string) => void logLines.push(line) });
	audit = new Audit({ store, log, retentionDays: 90 });
});
afterEach(async () => {
	vi.useRealTimers();
	await audit.close();
});

const everything = { teamId: undefined, limit: 20_000 };
const stored = () => store.db.selectFrom("audit_events").selectAll().orderBy("id").execute();
const actions = async (query: object) =>
	(await audit.list({ ...everything, ...query })).events.map(({ action }) => action);

/** Counts the commits that the audit makes. */
function countInserts() {
	return vi.spyOn(store.db, "insertInto");
}

/** Nothing can be stored any more, as on a full disk, until it is called off. */
async function breakStore(): Promise<() => Promise<unknown>> {
	await store.db.schema.alterTable("audit_events").renameTo("elsewhere").execute();
	return () =>
		store.db.schema
			.alterTable("elsewhere" as never)
			.renameTo("audit_events")
			.execute();
}

describe("what is recorded", () => {
	test("is there with who, what, from where, when and how long", async () => {
		audit.record({ ...fetched, durationMs: 12.4, details: { program: "sftp", bytes: 5, left_out: undefined } });
		expect(await audit.list(everything)).toEqual({
			hasMore: false,
			events: [
				{
					id: expect.stringMatching(/^aud_[0-9a-hjkmnp-tv-z]{26}$/),
					atMs: 1e12,
					action: "devbox_key.fetched",
					outcome: "ok",
					teamId: "team_test",
					userId: "usr_1",
					apiKeyId: "key_1",
					sshKeyId: null,
					devboxId: "dbx_1",
					peerAddress: "192.0.2.7",
					durationMs: 12,
					details: { program: "sftp", bytes: 5 },
				},
			],
		});
	});

	test("is cut where it is long: strangers choose some of it", async () => {
		const names = Array.from({ length: 1000 }, () => "x".repeat(10_000));
		audit.record({ ...denied, devboxId: "d".repeat(10_000), details: { username: "u".repeat(10_000), names } });
		await audit.flush();
		const [row] = await stored();
		expect(row?.devbox_id).toHaveLength(256);
		expect(JSON.parse(row!.details)).toEqual({
			username: `${"u".repeat(255)}…`,
			names: names.slice(0, 100).map(() => `${"x".repeat(255)}…`),
		});
	});
});

describe("in batches", () => {
	test("events of a tenth of a second share a commit", async () => {
		const inserts = countInserts();
		for (let n = 0; n < 30; n++) audit.record(fetched);
		await vi.advanceTimersByTimeAsync(99);
		expect(inserts).not.toHaveBeenCalled();
		await vi.advanceTimersByTimeAsync(1);
		await vi.waitFor(async () => expect(await stored()).toHaveLength(30));
		expect(inserts).toHaveBeenCalledTimes(1);
	});

	test("a hundred do not wait", async () => {
		for (let n = 0; n < 100; n++) audit.record(fetched);
		await vi.waitFor(async () => expect(await stored()).toHaveLength(100));
		expect(vi.getTimerCount()).toBe(0);
	});

	test("order and number are kept, whatever the size of the batches", async () => {
		for (let n = 0; n < 1234; n++) audit.record({ ...fetched, details: { n } });
		await audit.flush();
		const numbers = (await stored()).map(({ details }) => JSON.parse(details).n);
		expect(numbers).toEqual(Array.from({ length: 1234 }, (_, n) => n));
	});

	test("what is awaited is stored at once, with what came before", async () => {
		audit.record({ ...fetched, details: { n: 1 } });
		await audit.write({ ...fetched, details: { n: 2 } });
		expect((await stored()).map(({ details }) => details)).toEqual(['{"n":1}', '{"n":2}']);
	});

	test("the end of the daemon stores what waits", async () => {
		audit.record(fetched);
		await audit.close();
		await audit.close();
		expect(await stored()).toHaveLength(1);
	});
});

describe("a store that fails", () => {
	test("loses nothing silently: events are logged and counted, and who waits is told", async () => {
		const mend = await breakStore();
		audit.record({ ...fetched, details: { n: 1 } });
		await expect(audit.write({ ...fetched, details: { n: 2 } })).rejects.toMatchObject({ code: "unavailable" });
		expect(audit.lost).toEqual({ store_failed: 2, too_many_waiting: 0, too_many_a_minute: 0 });
		const logged = logLines.map((line) => JSON.parse(line)).map(({ loss, auditEvent }) => [loss, auditEvent.details]);
		expect(logged).toEqual([
			["store_failed", '{"n":1}'],
			["store_failed", '{"n":2}'],
		]);
		await mend();
		await audit.write(fetched);
		expect(await stored()).toHaveLength(1);
	});

	test("memory is bounded: more than ten thousand do not wait", () => {
		for (let n = 0; n < 10_005; n++) audit.record(fetched);
		expect(audit.lost).toMatchObject({ too_many_waiting: 5 });
		expect(logLines).toHaveLength(5);
	});
});

test("strangers cannot fill the disk, or crowd others out, with what is denied to them", async () => {
	for (let n = 0; n < 20_000; n++) audit.record(denied);
	audit.record(fetched);
	audit.record({ ...denied, action: "api.denied" });
	expect(await actions({ action: "api" })).toEqual(["api.denied"]);
	expect(await actions({ action: "devbox_key" })).toEqual(["devbox_key.fetched"]);
	expect(await actions({ action: "ssh" })).toHaveLength(600);
	expect(audit.lost).toMatchObject({ too_many_a_minute: 19_400, too_many_waiting: 0 });
	vi.setSystemTime(Date.now() + 60_000);
	audit.record(denied);
	expect(await actions({ action: "ssh" })).toHaveLength(601);
});

test("strangers cannot fill the disk by knocking at a devbox's sshd, which knows them or not", async () => {
	const session: AuditEvent = { action: "passthrough.session", actor: { peerAddress: "192.0.2.7" }, devboxId: "dbx_1" };
	for (let n = 0; n < 700; n++) audit.record(session);
	expect(await actions({ action: "passthrough" })).toHaveLength(600);
	for (let n = 0; n < 700; n++) audit.record({ action: "devbox_key.rotated", devboxId: "dbx_1" });
	expect(await actions({ action: "devbox_key" })).toHaveLength(700);
});

describe("a question", () => {
	test("goes by team, devbox, user, action, outcome and time", async () => {
		audit.record({ action: "ssh.session", actor: { userId: "usr_1" }, teamId: "team_a", devboxId: "dbx_1" });
		vi.setSystemTime(1e12 + 1000);
		audit.record({ action: "ssh_key.created", actor: { userId: "usr_2" }, teamId: "team_a" });
		vi.setSystemTime(1e12 + 2000);
		audit.record({ action: "ssh.denied", outcome: "denied", devboxId: "dbx_2" });
		const all = ["ssh.denied", "ssh_key.created", "ssh.session"];
		expect(await actions({})).toEqual(all);
		expect(await actions({ teamId: "team_a" })).toEqual(["ssh_key.created", "ssh.session"]);
		expect(await actions({ teamId: "team_b" })).toEqual([]);
		expect(await actions({ devboxId: "dbx_2" })).toEqual(["ssh.denied"]);
		expect(await actions({ userId: "usr_2" })).toEqual(["ssh_key.created"]);
		expect(await actions({ action: "ssh" })).toEqual(["ssh.denied", "ssh.session"]);
		expect(await actions({ action: "ssh.session" })).toEqual(["ssh.session"]);
		expect(await actions({ outcome: "ok" })).toEqual(["ssh_key.created", "ssh.session"]);
		expect(await actions({ sinceMs: 1e12 + 1000 })).toEqual(["ssh.denied", "ssh_key.created"]);
		expect(await actions({ untilMs: 1e12 + 1000 })).toEqual(["ssh.session"]);
		expect(await actions({ sinceMs: 1e12 + 1, untilMs: 1e12 + 2000 })).toEqual(["ssh_key.created"]);
	});

	test.each(["shh", "ssh.", "s", "%", ""])("for the action %j is refused", async (action) => {
		await expect(audit.list({ ...everything, action })).rejects.toMatchObject({ code: "bad_request", field: "action" });
	});

	test("is answered in pages, newest first", async () => {
		for (let n = 0; n < 5; n++) audit.record({ ...fetched, details: { n } });
		const pages: unknown[][] = [];
		for (let startingAfter: string | undefined, hasMore = true; hasMore; ) {
			const page = await audit.list({ ...everything, limit: 2, startingAfter });
			pages.push(page.events.map(({ details }) => details.n));
			startingAfter = page.events.at(-1)?.id;
			hasMore = page.hasMore;
		}
		expect(pages).toEqual([[4, 3], [2, 1], [0]]);
	});

	test("finds an event by its devbox's team when whoever recorded it did not know that", async () => {
		const row = { id: "dbx_1", team_id: store.teamId, created_by: "usr_1", name: null, status: "running" };
		const texts = { runtime: "linux", launch_parameters: "{}", metadata: "{}", boot_sealed: "", ssh_user: "user" };
		const keys = { ssh_public_key: "", ssh_private_key_sealed: "", host_public_key: "", host_private_key_sealed: "" };
		const numbers = { created_at_ms: 0, ran_before_ms: 0, generation: 0, initialized: 0 };
		await store.db
			.insertInto("devboxes")
			.values({ ...row, ...texts, ...keys, ...numbers })
			.execute();
		audit.record({ action: "passthrough.session", devboxId: "dbx_1" });
		audit.record({ action: "ssh.denied", devboxId: "dbx_none" });
		expect(await actions({ teamId: store.teamId })).toEqual(["passthrough.session"]);
	});
});

describe("retention", () => {
	test("events older than it are deleted, hourly, others not", async () => {
		audit.sweepHourly();
		for (let n = 0; n < 2500; n++) audit.record(fetched);
		vi.setSystemTime(1e12 + 1);
		await audit.write({ ...fetched, details: { younger: true } });
		vi.setSystemTime(1e12 + 90 * day + 1 - 60 * 60 * 1000);
		await vi.advanceTimersByTimeAsync(60 * 60 * 1000);
		await vi.waitFor(async () => expect((await stored()).map(({ details }) => details)).toEqual(['{"younger":true}']));
	});

	test("0 days is for ever", async () => {
		const forever = new Audit({ store, log: pino({ level: "silent" }), retentionDays: 0 });
		await forever.write(fetched);
		vi.setSystemTime(1e12 + 1_000_000 * day);
		await forever.deleteExpired();
		expect(await stored()).toHaveLength(1);
	});
});
