import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestStore } from "../store/store.fixture.js";
import { actor, openTestDevboxes, runningBox, suspendedBox } from "./devboxes.fixture.js";
import type { Devboxes } from "./devboxes.js";
import { Directory } from "./directory.js";
import { publicKeyOf } from "./keys.js";
import { FakeRuntime } from "./runtime.fixture.js";

/** What the doors ask for: that a box runs, and what it takes to log in to it. */

let store: Awaited<ReturnType<typeof openTestStore>>;
let runtime: FakeRuntime;
let devboxes: Devboxes;

beforeEach(async () => {
	store = await openTestStore();
	runtime = new FakeRuntime();
	devboxes = await openTestDevboxes({ store, runtime });
});
afterEach(() => devboxes.close());

const never = () => new AbortController().signal;
const starts = () => runtime.calls.filter((call) => call === "start").length;

/** Boxes no longer start by themselves: resolves once one has been asked to, with what makes it fail. */
function nextStart(): Promise<() => void> {
	return new Promise((resolve) => {
		runtime.onStart = (id) => resolve(() => runtime.exit(id));
	});
}

async function statusOf(id: string): Promise<string> {
	return (await devboxes.get(actor, id)).status;
}

test("many who wait for a suspended box resume it once, and all go on when it runs", async () => {
	const { id } = await suspendedBox(devboxes);
	await Promise.all(Array.from({ length: 20 }, () => devboxes.awaitRunning(id, never())));
	expect(await statusOf(id)).toBe("running");
	expect(starts()).toBe(2);
});

test("a box that is about to be suspended is resumed when it is", async () => {
	const { id } = await runningBox(devboxes);
	await devboxes.suspend(actor, id);
	await devboxes.awaitRunning(id, never());
	expect(await statusOf(id)).toBe("running");
});

test("a start that fails ends the wait, and is not tried again", async () => {
	const { id } = await suspendedBox(devboxes);
	const started = nextStart();
	const waiting = devboxes.awaitRunning(id, never());
	(await started)();
	await expect(waiting).rejects.toMatchObject({ code: "unavailable" });
	expect(await statusOf(id)).toBe("suspended");
	expect(starts()).toBe(2);
});

test("the wait ends with its signal, and with the box", async () => {
	const { id } = await suspendedBox(devboxes);
	const started = nextStart();
	const left = new AbortController();
	const [leaving, staying] = [left.signal, never()].map((signal) => devboxes.awaitRunning(id, signal));
	await started;
	left.abort();
	await expect(leaving).rejects.toMatchObject({ code: "unavailable" });
	await devboxes.shutdown(actor, id);
	await expect(staying).rejects.toMatchObject({ code: "unavailable" });
});

test("a running box can be logged in to as its user, with its own key; a sleeping one cannot", async () => {
	const { id } = await runningBox(devboxes, { launchParameters: { user: { username: "dev", uid: 1234 } } });
	const directory = new Directory(devboxes);
	const access = await directory.sshAccess(id);
	expect(access).toMatchObject({ address: "10.0.0.2", user: "dev" });
	expect(access.privateKeyPem).toBe((await devboxes.sshKey(actor, id)).privateKeyPem);
	expect(access.hostPublicKey).not.toBe(publicKeyOf(access.privateKeyPem));
	await devboxes.suspend(actor, id);
	await expect(directory.sshAccess(id)).rejects.toMatchObject({ code: "unavailable" });
});
