/** States and their order, competing calls, and crashes of the daemon in the middle of everything. */
import { isDeepStrictEqual } from "node:util";
import Runloop, { type RunloopSDK } from "@runloop/api-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { logOf } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { footprint } from "./support/host.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let devboxes: RunloopSDK["api"]["devboxes"];
beforeAll(async () => {
	daemon = await Daemon.start();
	devboxes = daemon.sdk().api.devboxes;
});
afterAll(() => daemon?.remove());

type View = Awaited<ReturnType<typeof devboxes.retrieve>>;

async function waitFor(id: string, ...statuses: View["status"][]): Promise<View> {
	const asked = { body: { statuses } };
	return daemon.sdk().api.post<unknown, View>(`/v1/devboxes/${id}/wait_for_status`, asked);
}

const history = (view: View) => view.state_transitions.map(({ status }) => status);

/** What may follow what, as the design has it. */
const next: Record<string, readonly string[]> = {
	provisioning: ["initializing", "failure", "shutdown"],
	initializing: ["running", "failure", "shutdown"],
	running: ["suspending", "suspended", "failure", "shutdown"],
	suspending: ["suspended", "failure", "shutdown"],
	suspended: ["resuming", "shutdown"],
	resuming: ["running", "suspended", "shutdown"],
	failure: ["shutdown"],
	shutdown: [],
};

function expectLegal(view: View): void {
	const states = history(view).map(String);
	expect(states[0]).toBe("provisioning");
	expect(states.at(-1)).toBe(view.status);
	for (const [n, state] of states.slice(1).entries()) expect(next[states[n]!]).toContain(state);
	const times = view.state_transitions.map(({ transition_time_ms }) => Number(transition_time_ms));
	expect(times).toEqual(times.toSorted((a, b) => a - b));
}

describe("state_transitions", () => {
	test("tell a box's whole life in order", async () => {
		const { id } = await devboxes.createAndAwaitRunning({});
		await devboxes.suspend(id);
		await devboxes.awaitSuspended(id);
		await devboxes.resume(id);
		await devboxes.awaitRunning(id);
		await devboxes.shutdown(id);
		const view = await devboxes.retrieve(id);
		expect(history(view)).toEqual([
			"provisioning",
			"initializing",
			"running",
			"suspending",
			"suspended",
			"resuming",
			"running",
			"shutdown",
		]);
		expectLegal(view);
	});

	test("a launch command that fails ends the start, and the logs say why", async () => {
		const { id } = await devboxes.create({
			launch_parameters: { launch_commands: ["echo before", "echo broken >&2; exit 3", "echo never"] },
		});
		const view = await waitFor(id, "failure", "running");
		expect(view).toMatchObject({ status: "failure", failure_reason: "execution_failed" });
		expect(view.state_transitions.at(-1)).toMatchObject({ status: "failure", failure_reason: "execution_failed" });
		const log = await logOf(daemon, id);
		expect(log).toEqual(expect.arrayContaining(["before", "broken", "exit 3"]));
		expect(log).not.toContain("never");
		await devboxes.shutdown(id);
	});

	test("a launch command that fails at a resume loses nothing: the box is suspended again", async () => {
		const { id } = await devboxes.createAndAwaitRunning({
			launch_parameters: { launch_commands: ["[ ! -e started ]", "touch started"] },
		});
		await devboxes.suspend(id);
		await devboxes.awaitSuspended(id);
		await devboxes.resume(id);
		const view = await waitFor(id, "running", "suspended", "failure");
		expect(history(view).slice(-2)).toEqual(["resuming", "suspended"]);
		expect(view.failure_reason).toBeNull();
		await devboxes.shutdown(id);
	});

	test("memory that is not there is out_of_memory", async () => {
		const { id } = await devboxes.createAndAwaitRunning({
			launch_parameters: { resource_size_request: "CUSTOM_SIZE", custom_cpu_cores: 1, custom_gb_memory: 0.125 },
			entrypoint: "exec node -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 24, 1))'",
		});
		const view = await waitFor(id, "failure", "shutdown");
		expect(view).toMatchObject({ status: "failure", failure_reason: "out_of_memory" });
		await devboxes.shutdown(id);
	});

	test("the entrypoint's end is the box's", async () => {
		const { id } = await devboxes.createAndAwaitRunning({ entrypoint: "until [ -e stop ]; do sleep 0.05; done" });
		await devboxes.suspend(id);
		await devboxes.awaitSuspended(id);
		await devboxes.resume(id);
		await devboxes.awaitRunning(id);
		await devboxes.shutdown(id);
		const quick = await devboxes.create({ entrypoint: "exit 7" });
		expect(await waitFor(quick.id, "shutdown")).toMatchObject({ shutdown_reason: "entrypoint_exit" });
	});
});

/** Where calls compete, a conflict is a legal answer; nothing else is. */
const tolerant = <T>(call: Promise<T>) =>
	call.catch((error: unknown) => {
		if (!(error instanceof Runloop.ConflictError)) throw error;
		return undefined;
	});

describe("competing calls", () => {
	test("twenty resumes are one", async () => {
		const { id } = await devboxes.createAndAwaitRunning({});
		await devboxes.suspend(id);
		await devboxes.awaitSuspended(id);
		const answers = await Promise.all(Array.from({ length: 20 }, () => devboxes.resume(id)));
		for (const { status } of answers) expect(["resuming", "running"]).toContain(status);
		const view = await devboxes.awaitRunning(id);
		expect(history(view).filter((status) => status === "resuming")).toHaveLength(1);
		await devboxes.shutdown(id);
	});

	test("suspend, resume and shutdown together end in shutdown, and nothing of the box is left", async () => {
		const boxes = await Promise.all([1, 2, 3].map(() => devboxes.createAndAwaitRunning({})));
		await Promise.all(
			boxes.flatMap(({ id }) => [
				tolerant(devboxes.suspend(id)),
				tolerant(devboxes.resume(id)),
				tolerant(devboxes.shutdown(id)),
				tolerant(devboxes.suspend(id)),
			]),
		);
		for (const { id } of boxes) {
			const view = await devboxes.retrieve(id);
			expect(view.status).toBe("shutdown");
			expectLegal(view);
		}
	});

	test("suspends and resumes by turns end in a state that works", async () => {
		const { id } = await devboxes.createAndAwaitRunning({});
		await Promise.all(
			Array.from({ length: 12 }, (_, n) => tolerant(n % 2 === 0 ? devboxes.suspend(id) : devboxes.resume(id))),
		);
		const settled = await waitFor(id, "running", "suspended");
		expectLegal(settled);
		if (settled.status === "suspended") await devboxes.resume(id);
		expectLegal(await devboxes.awaitRunning(id));
		await devboxes.shutdown(id);
	});

	test("a shutdown wins over a start that is under way", async () => {
		const { id } = await devboxes.create({ launch_parameters: { launch_commands: ["sleep 60"] } });
		await waitFor(id, "initializing");
		expect(await devboxes.shutdown(id)).toMatchObject({ status: "shutdown" });
	});
});

test("nothing of all these boxes is left on the host", async () => {
	await nothingLeft();
});

describe("a crash of the daemon", () => {
	test("leaves running boxes running: the same processes, followed again", async () => {
		const { id } = await devboxes.createAndAwaitRunning({ entrypoint: "echo begun; exec sleep infinity" });
		const before = footprint(daemon.dataDir);
		await daemon.kill();
		expect(footprint(daemon.dataDir)).toEqual(before);
		await daemon.start();
		expect(footprint(daemon.dataDir)).toEqual(before);
		const view = await devboxes.retrieve(id);
		expect(history(view)).toEqual(["provisioning", "initializing", "running"]);
		expect((await logOf(daemon, id)).filter((line) => line === "begun")).toHaveLength(1);
		await devboxes.shutdown(id);
	});

	/** Which moment a kill hits is chance on purpose; what comes of it is not. */
	test("at any moment: everything comes to where it was going, and nothing leaks", { timeout: 60_000 }, async () => {
		const turning = (await Promise.all([1, 2, 3].map(() => devboxes.createAndAwaitRunning({})))).map(({ id }) => id);
		const ids = new Set(turning);
		for (let round = 0; round < 6; round++) {
			/** Where a box is bound for since its call was answered; one that was cut off may end as either. */
			const bound = new Map<string, View["status"]>();
			const turn = round % 2 === 0 ? devboxes.suspend : devboxes.resume;
			const calls = [
				...turning.map(async (id) => {
					await turn.call(devboxes, id, { maxRetries: 0 });
					bound.set(id, round % 2 === 0 ? "suspended" : "running");
				}),
				...[1, 2].map(async () => bound.set((await devboxes.create({}, { maxRetries: 0 })).id, "running")),
			];
			await Promise.race([
				Promise.allSettled(calls).then(() => later(Math.random() * 150)),
				later(Math.random() * 100),
			]);
			await daemon.kill();
			await daemon.start();
			for await (const box of devboxes.list({ limit: 100 })) {
				if (box.status === "shutdown") continue;
				ids.add(box.id);
				const settled = await waitFor(box.id, "running", "suspended");
				expectLegal(settled);
				expect(settled.status).toBe(bound.get(box.id) ?? settled.status);
			}
			expect([...ids]).toEqual(expect.arrayContaining([...bound.keys()]));
			// The next turn begins with all three alike.
			for (const id of turning) {
				const other = round % 2 === 0 ? devboxes.suspend : devboxes.resume;
				await tolerant(other.call(devboxes, id));
				await waitFor(id, round % 2 === 0 ? "suspended" : "running");
			}
		}
		// Each is what it says: a box that sleeps has nothing, one that runs has one of each.
		const views = await Promise.all([...ids].map((id) => devboxes.retrieve(id)));
		const running = views.filter(({ status }) => status === "running").map(({ id }) => id);
		await until("the host has just the running boxes", () => {
			const { namespaces, links, groups } = footprint(daemon.dataDir);
			return (
				namespaces.length === running.length && links.length === running.length && groups.length === running.length
			);
		});
		expect(footprint(daemon.dataDir).groups).toEqual(running.toSorted());
		expect(footprint(daemon.dataDir).disks).toEqual([...ids].toSorted());
		await Promise.all([...ids].map((id) => devboxes.shutdown(id)));
		await nothingLeft();
	});

	test("between a shutdown and its clean-up: the next start finishes it", async () => {
		const boxes = await Promise.all([1, 2, 3, 4].map(() => devboxes.createAndAwaitRunning({})));
		await Promise.race(boxes.map(({ id }) => devboxes.shutdown(id)));
		await daemon.kill();
		await daemon.start();
		await Promise.all(boxes.map(({ id }) => devboxes.shutdown(id)));
		await nothingLeft();
	});
});

/** Removing goes on behind the answer to a shutdown. */
async function nothingLeft(): Promise<void> {
	const nothing = { processes: [], namespaces: [], links: [], groups: [], disks: [] };
	await until("all is gone", () => isDeepStrictEqual(footprint(daemon.dataDir), nothing)).catch(() => {});
	expect(footprint(daemon.dataDir)).toEqual(nothing);
}

function later(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}
