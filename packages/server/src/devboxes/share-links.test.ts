import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openTestStore } from "../store/store.fixture.js";
import { actor, openTestDevboxes, passes, reachStatus, runningBox, suspendedBox } from "./devboxes.fixture.js";
import type { Devboxes } from "./devboxes.js";
import { Directory } from "./directory.js";
import { FakeRuntime } from "./runtime.fixture.js";
import { defaultTunnelParams } from "./tunnels.js";

const authenticated = { ...defaultTunnelParams, authMode: "authenticated" } as const;
const wanted = { port: 3000, path: "/report?week=7", expiresInSeconds: 3600 };

let store: Awaited<ReturnType<typeof openTestStore>>;
let runtime: FakeRuntime;
let devboxes: Devboxes;
let logLines: string[];

beforeEach(async () => {
	store = await openTestStore();
	runtime = new FakeRuntime();
	logLines = [];
	await openDevboxes();
});
afterEach(async () => {
	vi.useRealTimers();
	await devboxes.close();
});

async function openDevboxes(): Promise<void> {
	const log = pino({ level: "info" }, { write: (line: string) => void logLines.push(line) });
	devboxes = await openTestDevboxes({ store, runtime, log });
}

async function restart(): Promise<void> {
	await devboxes.close();
	await openDevboxes();
}

const rows = () => store.db.selectFrom("share_links").selectAll().execute();
const box = () => runningBox(devboxes, { tunnel: authenticated });

/** The (devbox, link) pairs that were said to have ended. */
function ended(): [string, string][] {
	const pairs: [string, string][] = [];
	devboxes.onShareLinkEnded((devboxId, shareLinkId) => pairs.push([devboxId, shareLinkId]));
	return pairs;
}

test("a link's token is signed over tunnel, generation, port, link and expiry", async () => {
	const { id, tunnel } = await box();
	const { token, tunnelKey, ...link } = await devboxes.createShareLink(actor, id, wanted);
	expect(link).toEqual({
		id: expect.stringMatching(/^shl_[0-9a-hjkmnp-tv-z]{26}$/),
		port: 3000,
		path: "/report?week=7",
		createdAtMs: expect.any(Number),
		expiresAtMs: link.createdAtMs + 3_600_000,
	});
	expect(tunnelKey).toBe(tunnel!.key);
	expect(passes.verify("link", token)).toEqual({
		tunnelKey: tunnel!.key,
		generation: 1,
		port: 3000,
		shareLinkId: link.id,
		expiresAtMs: link.expiresAtMs,
	});
	expect(await devboxes.shareLinks(actor, id)).toEqual([link]);
	expect((await rows())[0]).toMatchObject({ id: link.id, devbox_id: id, created_by: "usr_1" });
});

test("the directory knows each link as soon as it is made, and none that was deleted", async () => {
	const { id, tunnel } = await box();
	const directory = new Directory(devboxes);
	const known = async () => [...((await directory.lookup(tunnel!.key))?.shareLinks ?? [])];
	expect(await known()).toEqual([]);
	const { id: linkId, expiresAtMs } = await devboxes.createShareLink(actor, id, wanted);
	expect(await known()).toEqual([[linkId, { port: 3000, expiresAtMs }]]);
	await devboxes.deleteShareLink(actor, id, linkId);
	expect(await known()).toEqual([]);
});

test("a deletion is announced once; an unknown link, or another devbox's, is not found", async () => {
	const { id } = await box();
	const other = await box();
	const pairs = ended();
	const link = await devboxes.createShareLink(actor, id, wanted);
	await expect(devboxes.deleteShareLink(actor, other.id, link.id)).rejects.toMatchObject({ status: 404 });
	await devboxes.deleteShareLink(actor, id, link.id);
	await expect(devboxes.deleteShareLink(actor, id, link.id)).rejects.toMatchObject({ status: 404 });
	expect(pairs).toEqual([[id, link.id]]);
});

test("the log tells who made and deleted a link, and no token", async () => {
	const { id } = await box();
	logLines.length = 0;
	const { id: shareLinkId, token } = await devboxes.createShareLink(actor, id, wanted);
	await devboxes.deleteShareLink(actor, id, shareLinkId);
	const ids = { devboxId: id, shareLinkId, apiKeyId: "key_1", userId: "usr_1" };
	expect(logLines.map((line) => JSON.parse(line))).toMatchObject([
		{ level: 30, msg: "share link created", ...ids },
		{ level: 30, msg: "share link deleted", ...ids },
	]);
	expect(logLines.join()).not.toContain(token);
	expect(logLines.join()).not.toContain("week=7");
});

describe("a link outlives", () => {
	test("suspend, resume and a restart of the daemon", async () => {
		const { id } = await suspendedBox(devboxes, { tunnel: authenticated });
		const link = await devboxes.createShareLink(actor, id, wanted);
		await devboxes.resume(actor, id);
		await reachStatus(devboxes, id, "running");
		await restart();
		expect((await devboxes.shareLinks(actor, id)).map((known) => known.id)).toEqual([link.id]);
	});
});

describe("a link ends with", () => {
	test.each<[string, (id: string) => Promise<unknown>]>([
		["another token", (id) => devboxes.enableTunnel(actor, id, { ...authenticated, wakeOnHttp: true })],
		["an open tunnel", (id) => devboxes.enableTunnel(actor, id, defaultTunnelParams)],
		["its tunnel", (id) => devboxes.removeTunnel(actor, id)],
	])("%s", async (_, change) => {
		const { id } = await box();
		const revoked: string[] = [];
		devboxes.onTunnelRevoked((devboxId) => revoked.push(devboxId));
		await devboxes.createShareLink(actor, id, wanted);
		await change(id);
		expect(revoked).toEqual([id]);
		expect(await devboxes.shareLinks(actor, id)).toEqual([]);
		expect(await rows()).toEqual([]);
	});

	test("the devbox", async () => {
		const { id } = await box();
		await devboxes.createShareLink(actor, id, wanted);
		await devboxes.shutdown(actor, id);
		await expect(devboxes.createShareLink(actor, id, wanted)).rejects.toMatchObject({ status: 409 });
		await expect.poll(rows).toEqual([]);
	});

	test("but not with an enable that changes nothing", async () => {
		const { id } = await box();
		await devboxes.createShareLink(actor, id, wanted);
		await devboxes.enableTunnel(actor, id, authenticated);
		expect(await devboxes.shareLinks(actor, id)).toHaveLength(1);
	});
});

describe("expiry", () => {
	beforeEach(() => {
		vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
	});

	test("ends each link when its own time is over, whatever the order in which they were made", async () => {
		const { id } = await box();
		const pairs = ended();
		const long = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 120 });
		const short = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 60 });
		await vi.advanceTimersByTimeAsync(59_000);
		expect(pairs).toEqual([]);
		await vi.advanceTimersByTimeAsync(1_000);
		await expect.poll(() => pairs).toEqual([[id, short.id]]);
		await expect.poll(() => vi.getTimerCount()).toBe(1);
		await vi.advanceTimersByTimeAsync(60_000);
		await expect
			.poll(() => pairs)
			.toEqual([
				[id, short.id],
				[id, long.id],
			]);
		expect(await rows()).toEqual([]);
	});

	test("comes after a restart, and at once where it was missed", async () => {
		const { id } = await box();
		const missed = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 60 });
		const later = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 120 });
		await devboxes.close();
		vi.setSystemTime(missed.expiresAtMs);
		await openDevboxes();
		expect((await rows()).map((row) => row.id)).toEqual([later.id]);
		const pairs = ended();
		await vi.advanceTimersByTimeAsync(60_000);
		await expect.poll(() => pairs).toEqual([[id, later.id]]);
	});

	test("a year ahead is not at once, though no timer waits so long", async () => {
		const { id } = await box();
		const pairs = ended();
		const link = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 31_536_000 });
		await vi.advanceTimersByTimeAsync(30 * 24 * 3_600_000);
		expect(pairs).toEqual([]);
		await expect.poll(() => vi.getTimerCount()).toBe(1);
		vi.setSystemTime(link.expiresAtMs);
		await vi.advanceTimersByTimeAsync(2 ** 31);
		await expect.poll(() => pairs).toEqual([[id, link.id]]);
	});

	test("an expired link is not shown, also where it has not been swept yet", async () => {
		const { id } = await box();
		const { expiresAtMs } = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 60 });
		vi.setSystemTime(expiresAtMs);
		expect(await devboxes.shareLinks(actor, id)).toEqual([]);
	});

	test("a store that fails is asked again", async () => {
		const { id } = await box();
		const pairs = ended();
		const link = await devboxes.createShareLink(actor, id, { ...wanted, expiresInSeconds: 60 });
		const failing = vi.spyOn(devboxes.repository, "removeExpiredShareLinks").mockRejectedValueOnce(new Error("busy"));
		await vi.advanceTimersByTimeAsync(60_000);
		expect(failing).toHaveBeenCalledTimes(1);
		await vi.advanceTimersByTimeAsync(60_000);
		await expect.poll(() => pairs).toEqual([[id, link.id]]);
	});
});

describe("there is no link", () => {
	test("without an authenticated tunnel", async () => {
		const { id } = await runningBox(devboxes);
		await expect(devboxes.createShareLink(actor, id, wanted)).rejects.toMatchObject({
			status: 409,
			message: `devbox ${id} has no tunnel: enable one first`,
		});
		await devboxes.enableTunnel(actor, id, defaultTunnelParams);
		await expect(devboxes.createShareLink(actor, id, wanted)).rejects.toMatchObject({
			status: 409,
			message: `the tunnel of devbox ${id} is open: its URL needs no share link`,
		});
		expect(await rows()).toEqual([]);
	});

	test("for another team", async () => {
		const { id } = await box();
		const stranger = { ...actor, teamId: "team_2" };
		const { id: linkId } = await devboxes.createShareLink(actor, id, wanted);
		await expect(devboxes.createShareLink(stranger, id, wanted)).rejects.toMatchObject({ status: 404 });
		await expect(devboxes.shareLinks(stranger, id)).rejects.toMatchObject({ status: 404 });
		await expect(devboxes.deleteShareLink(stranger, id, linkId)).rejects.toMatchObject({ status: 404 });
		expect(await rows()).toHaveLength(1);
	});

	test("beyond a hundred, also when all are asked for at once", async () => {
		const { id } = await box();
		const asked = Array.from({ length: 105 }, () => devboxes.createShareLink(actor, id, wanted));
		const refused = (await Promise.allSettled(asked)).filter(({ status }) => status === "rejected");
		expect(refused).toHaveLength(5);
		expect(await devboxes.shareLinks(actor, id)).toHaveLength(100);
		await expect(devboxes.createShareLink(actor, id, wanted)).rejects.toMatchObject({
			status: 409,
			message: `the tunnel of devbox ${id} has 100 share links: delete one first`,
		});
	});

	test.each([
		[{ port: 0 }, "port"],
		[{ port: 22 }, "port"],
		[{ port: 65536 }, "port"],
		[{ port: 80.5 }, "port"],
		[{ expiresInSeconds: 59 }, "expires_in_seconds"],
		[{ expiresInSeconds: 31_536_001 }, "expires_in_seconds"],
		[{ expiresInSeconds: Number.NaN }, "expires_in_seconds"],
		[{ path: "" }, "path"],
		[{ path: "report" }, "path"],
		[{ path: "https://evil.example/" }, "path"],
		[{ path: `/${"a".repeat(2048)}` }, "path"],
		[{ path: "/a#b" }, "path"],
		[{ path: "/a b" }, "path"],
		[{ path: "/a\r\nSet-Cookie: x=y" }, "path"],
		[{ path: "/%zz" }, "path"],
		[{ path: "/?gangway_share=other" }, "path"],
		[{ path: "/a?b&gangway_token=the-token" }, "path"],
		[{ path: "/ü" }, "path"],
	])("with %j", async (change, field) => {
		const { id } = await box();
		const params = { ...wanted, ...change };
		await expect(devboxes.createShareLink(actor, id, params)).rejects.toMatchObject({ status: 400, field });
		expect(await rows()).toEqual([]);
	});

	test.each(["//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example"])(
		"that redirects to another host: path %j",
		async (path) => {
			const { id } = await box();
			const creating = devboxes.createShareLink(actor, id, { ...wanted, path });
			await expect(creating).rejects.toMatchObject({ status: 400, field: "path" });
		},
	);

	test.each(["/", "/a//b", "/a?b=c/d?e&f", "/%C3%BC?x=%2F", `/${"a".repeat(2047)}`])(
		"but with the path %s",
		async (path) => {
			const { id } = await box();
			expect(await devboxes.createShareLink(actor, id, { ...wanted, path })).toMatchObject({ path });
		},
	);
});
