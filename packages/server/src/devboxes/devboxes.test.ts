import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openTestStore } from "../store/store.fixture.js";
import type { CreateParams, Devbox } from "./devbox.js";
import {
	actor,
	type LifetimeChange,
	openTestDevboxes,
	reachStatus,
	runningBox,
	suspendedBox,
} from "./devboxes.fixture.js";
import type { Devboxes } from "./devboxes.js";
import type { Status } from "./lifecycle.js";
import { FakeRuntime } from "./runtime.fixture.js";
import { defaultTunnelParams } from "./tunnels.js";

const open = defaultTunnelParams;
const authenticated = { ...defaultTunnelParams, authMode: "authenticated" } as const;

let store: Awaited<ReturnType<typeof openTestStore>>;
let runtime: FakeRuntime;
let devboxes: Devboxes;

beforeEach(async () => {
	store = await openTestStore();
	runtime = new FakeRuntime();
	devboxes = await openDevboxes();
});
afterEach(() => devboxes.close());

function openDevboxes(settings: LifetimeChange = {}): Promise<Devboxes> {
	return openTestDevboxes({ store, runtime, ...settings });
}

/** The daemon is gone without a word; another one starts on the same store and the same boxes. */
async function restart(settings: LifetimeChange = {}): Promise<void> {
	await devboxes.close();
	devboxes = await openDevboxes(settings);
}

const reach = (id: string, ...statuses: Status[]) => reachStatus(devboxes, id, ...statuses);
const running = (params?: CreateParams) => runningBox(devboxes, params);
const suspended = (params?: CreateParams) => suspendedBox(devboxes, params);
const path = (box: Devbox) => box.transitions.map((transition) => transition.status);

test("a devbox goes through its states, and each is recorded", async () => {
	const { id } = await suspended();
	await devboxes.resume(actor, id);
	await reach(id, "running");
	await devboxes.shutdown(actor, id);
	const box = await reach(id, "shutdown");
	expect(path(box)).toEqual([
		"provisioning",
		"initializing",
		"running",
		"suspending",
		"suspended",
		"resuming",
		"running",
		"shutdown",
	]);
	expect(box.shutdownReason).toBe("api_shutdown");
	expect(box.endedAtMs).not.toBeNull();
});

test("another team's devbox does not exist", async () => {
	const { id } = await running();
	const stranger = { ...actor, teamId: "team_2" };
	await expect(devboxes.get(stranger, id)).rejects.toMatchObject({ status: 404 });
	await expect(devboxes.sshKey(stranger, id)).rejects.toMatchObject({ status: 404 });
	await expect(devboxes.shutdown(stranger, id)).rejects.toMatchObject({ status: 404 });
	expect((await devboxes.list(stranger, { limit: 10 })).devboxes).toEqual([]);
});

test("a failing launch command at creation is a failure with its output in the logs", async () => {
	runtime.onStart = (id) => {
		runtime.report(id, "launch 0 begin");
		runtime.print(id, "no such thing\n");
		runtime.report(id, "launch 0 end 7");
		runtime.report(id, "failed launch");
		runtime.exit(id);
	};
	const { id } = await devboxes.create(actor, { launchParameters: { launchCommands: ["thing"] } });
	const box = await reach(id, "running", "failure");
	expect(box).toMatchObject({ status: "failure", failureReason: "execution_failed" });
	expect(await devboxes.logs(actor, id)).toMatchObject([
		{ source: "setup_commands", cmd: "thing" },
		{ message: "no such thing" },
		{ level: "error", cmd: "thing", exitCode: 7 },
		{ level: "error" },
	]);
});

test("a failing launch command at a resume leaves the box suspended, disk and all", async () => {
	const { id } = await suspended();
	runtime.onStart = (box) => {
		runtime.report(box, "failed launch");
		runtime.exit(box);
	};
	await devboxes.resume(actor, id);
	await reach(id, "suspended");
	expect(runtime.boxes.get(id)?.disk).toBe(true);
});

test("a runtime that cannot start a box: failure at first, suspended later", async () => {
	runtime.at = (point) => {
		if (point === "start:before") throw new Error("no room");
	};
	const first = await devboxes.create(actor, {});
	expect((await reach(first.id, "running", "failure")).failureReason).toBe("execution_failed");
	runtime.at = () => undefined;
	const { id } = await suspended();
	runtime.at = (point) => {
		if (point === "start:before") throw new Error("no room");
	};
	await devboxes.resume(actor, id);
	expect((await reach(id, "running", "suspended")).status).toBe("suspended");
});

test("the entrypoint's exit shuts the devbox down, its end by a suspend does not", async () => {
	const { id } = await running({ entrypoint: "serve" });
	runtime.report(id, "entrypoint end 0");
	runtime.exit(id);
	expect(await reach(id, "shutdown", "suspended", "failure")).toMatchObject({
		status: "shutdown",
		shutdownReason: "entrypoint_exit",
	});
	expect((await suspended({ entrypoint: "serve" })).status).toBe("suspended");
});

test("an entrypoint that was killed for its memory is out of memory, not an exit", async () => {
	const killed = await running({ entrypoint: "serve" });
	runtime.report(killed.id, "entrypoint end 137");
	runtime.exit(killed.id, { outOfMemory: true });
	expect((await reach(killed.id, "failure", "shutdown")).failureReason).toBe("out_of_memory");

	const ended = await running({ entrypoint: "serve" });
	runtime.report(ended.id, "entrypoint end 0");
	runtime.exit(ended.id, { outOfMemory: true });
	expect((await reach(ended.id, "failure", "shutdown")).shutdownReason).toBe("entrypoint_exit");
});

test("a box that ends by itself: out of memory is a failure, anything else leaves it suspended with its disk", async () => {
	const first = await running();
	runtime.exit(first.id, { outOfMemory: true });
	expect(await reach(first.id, "failure", "suspended")).toMatchObject({
		status: "failure",
		failureReason: "out_of_memory",
	});
	const second = await running();
	runtime.exit(second.id);
	expect((await reach(second.id, "failure", "suspended")).status).toBe("suspended");
	expect(runtime.boxes.get(second.id)?.disk).toBe(true);
});

test.each(["create:before", "create:after", "start:before", "start:after"])(
	"a shutdown at %s wins and leaves nothing",
	async (point) => {
		let id = "";
		let shutDown: Promise<unknown> | undefined;
		runtime.at = async (now) => {
			if (now === point && !shutDown) {
				shutDown = devboxes.shutdown(actor, id);
				await shutDown;
			}
		};
		({ id } = await devboxes.create(actor, {}));
		expect((await reach(id, "shutdown", "running", "failure")).status).toBe("shutdown");
		await restart();
		expect(runtime.boxes.size).toBe(0);
		expect((await devboxes.get(actor, id)).status).toBe("shutdown");
	},
);

test.each(["create:before", "create:after", "start:before", "start:after"])(
	"a daemon that dies at %s: the next one makes the box run",
	async (point) => {
		let crashed: (() => void) | undefined;
		const crash = new Promise<void>((resolve) => {
			crashed = resolve;
		});
		runtime.at = (now) => {
			if (now !== point) return;
			crashed?.();
			return new Promise<void>(() => undefined);
		};
		const { id } = await devboxes.create(actor, {});
		await crash;
		const dead = devboxes;
		runtime.at = () => undefined;
		devboxes = await openDevboxes();
		expect((await reach(id, "running", "failure")).status).toBe("running");
		expect(runtime.boxes.size).toBe(1);
		dead.repository.removeAllListeners();
	},
);

test.each(["start:before", "start:after"])(
	"a daemon that dies at %s of a resume: the next one makes the box run",
	async (point) => {
		const { id } = await suspended();
		let crashed!: () => void;
		const crash = new Promise<void>((resolve) => {
			crashed = resolve;
		});
		runtime.at = (now) => {
			if (now !== point) return;
			crashed();
			return new Promise<void>(() => undefined);
		};
		await devboxes.resume(actor, id);
		await crash;
		devboxes.repository.removeAllListeners();
		runtime.at = () => undefined;
		devboxes = await openDevboxes();
		expect((await reach(id, "running", "suspended", "failure")).status).toBe("running");
	},
);

test("a daemon that dies while suspending: the next one suspends", async () => {
	const { id } = await running();
	let stopping!: () => void;
	const reached = new Promise<void>((resolve) => {
		stopping = resolve;
	});
	runtime.at = (now) => {
		if (now !== "stop:before") return;
		stopping();
		return new Promise<void>(() => undefined);
	};
	await devboxes.suspend(actor, id);
	await reached;
	runtime.at = () => undefined;
	devboxes = await openDevboxes();
	expect((await reach(id, "suspended")).status).toBe("suspended");
	expect(runtime.boxes.get(id)?.running).toBe(false);
});

test("a restart adopts what runs, and finds out what ended meanwhile", async () => {
	const lives = await running();
	const ended = await running({ entrypoint: "serve" });
	const rebooted = await running();
	await devboxes.close();
	runtime.report(ended.id, "entrypoint end 0");
	runtime.exit(ended.id);
	runtime.exit(rebooted.id);
	devboxes = await openDevboxes();
	expect((await devboxes.get(actor, lives.id)).status).toBe("running");
	expect(devboxes.address(lives.id)).toBe("10.0.0.2");
	expect((await reach(ended.id, "shutdown", "suspended")).shutdownReason).toBe("entrypoint_exit");
	expect((await reach(rebooted.id, "suspended", "failure")).status).toBe("suspended");
});

test("logs go on after a restart where they were", async () => {
	const { id } = await running({ entrypoint: "serve" });
	runtime.report(id, "entrypoint begin");
	runtime.print(id, "one\n");
	await devboxes.logs(actor, id);
	await devboxes.close();
	runtime.print(id, "two\n");
	devboxes = await openDevboxes();
	runtime.report(id, "entrypoint end 0");
	runtime.exit(id);
	await reach(id, "shutdown");
	const messages = (await devboxes.logs(actor, id)).map((entry) => [entry.source, entry.message ?? entry.exitCode]);
	expect(messages).toEqual([
		["entrypoint", undefined],
		["entrypoint", "one"],
		["entrypoint", "two"],
		["entrypoint", 0],
	]);
});

test("a box on the host that the store does not know is stopped, and keeps its disk", async () => {
	const { id } = await running();
	await store.db.deleteFrom("state_transitions").execute();
	await store.db.deleteFrom("devboxes").execute();
	await restart();
	expect(runtime.boxes.get(id)).toMatchObject({ disk: true, running: false });
});

test("of many who wake a box at once, one does", async () => {
	const { id } = await suspended();
	const woken = await Promise.all(Array.from({ length: 500 }, () => devboxes.wake(id)));
	expect(woken.filter(Boolean)).toHaveLength(1);
	await reach(id, "running");
	expect(runtime.calls.filter((call) => call === "start")).toHaveLength(2);
});

test("wrong states are conflicts that say why", async () => {
	const { id } = await suspended();
	await expect(devboxes.keepAlive(actor, id)).rejects.toMatchObject({ status: 409 });
	await expect(devboxes.enableTunnel(actor, id, open)).rejects.toMatchObject({
		status: 409,
		message: `devbox ${id} is suspended: it can be given a tunnel only while it is running`,
	});
	await devboxes.shutdown(actor, id);
	await expect(devboxes.resume(actor, id)).rejects.toMatchObject({ status: 409 });
	await expect(devboxes.suspend(actor, id)).rejects.toMatchObject({ status: 409 });
	await expect(devboxes.sshKey(actor, id)).rejects.toMatchObject({ status: 409 });
});

test("the key is the same at every call and gone from the store at shutdown", async () => {
	const { id } = await running();
	const key = await devboxes.sshKey(actor, id);
	expect(await devboxes.sshKey(actor, id)).toEqual(key);
	expect(key).toMatchObject({ sshUser: "user", hostname: `${id.replace("_", "-")}.ssh.example.com` });
	await devboxes.shutdown(actor, id);
	await restart();
	const row = await store.db.selectFrom("devboxes").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
	expect(row).toMatchObject({ ssh_private_key_sealed: "", host_private_key_sealed: "", boot_sealed: "" });
});

test("secrets lie sealed in the store", async () => {
	await running({ environmentVariables: { TOKEN: "hunter2hunter2" }, tunnel: authenticated });
	const rows = JSON.stringify([
		await store.db.selectFrom("devboxes").selectAll().execute(),
		await store.db.selectFrom("tunnels").selectAll().execute(),
	]);
	expect(rows).not.toMatch(/hunter2|BEGIN EC|gwt_/);
});

test.each([
	[{ launchParameters: { user: { username: "Bad Name", uid: 1000 } } }, "launch_parameters.user_parameters.username"],
	[{ launchParameters: { user: { username: "root", uid: 1000 } } }, "launch_parameters.user_parameters.uid"],
	[{ launchParameters: { size: "CUSTOM_SIZE" } }, "launch_parameters.resource_size_request"],
	[{ launchParameters: { customCpuCores: 2 } }, "launch_parameters.custom_cpu_cores"],
	[{ environmentVariables: { "A B": "1" } }, "environment_variables.A B"],
	[{ environmentVariables: { KEY: "a\nb" } }, "environment_variables.KEY"],
	[{ environmentVariables: { KEY: "a".repeat(128 * 1024) } }, "environment_variables.KEY"],
	[
		{ environmentVariables: Object.fromEntries(Array.from("abcdefghijklmnop", (name) => [name, "a".repeat(70_000)])) },
		"environment_variables",
	],
	[{ files: { "../x": "" } }, 'file_mounts["../x"]'],
	[{ entrypoint: " " }, "entrypoint"],
] as const)("wrong parameters (%#) are refused and the field named", async (params, field) => {
	await expect(devboxes.create(actor, params as CreateParams)).rejects.toMatchObject({ status: 400, field });
});

test("a lifetime beyond the installation's maximum is refused", async () => {
	await restart({ maxLifetime: 60 });
	await expect(devboxes.create(actor, { launchParameters: { keepAliveTimeSeconds: 61 } })).rejects.toMatchObject({
		field: "launch_parameters.keep_alive_time_seconds",
	});
});

function diskFull(): Error {
	return Object.assign(new Error("write failed"), { code: "ENOSPC" });
}

test("a full disk at the first start is named as the reason", async () => {
	runtime.at = (point) => {
		if (point === "create:before") throw new Error("the devbox could not be created", { cause: diskFull() });
	};
	const { id } = await devboxes.create(actor, {});
	expect(await reach(id, "failure")).toMatchObject({ failureReason: "out_of_disk" });
	expect(await devboxes.logs(actor, id)).toMatchObject([{ message: expect.stringContaining("disk is full") }]);
});

test("a box is not stuck half way by an operation that failed: it is tried again", async () => {
	vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
	try {
		const { id } = await running();
		const failed = new Promise<void>((resolve) => {
			runtime.at = (point) => {
				if (point !== "stop:before") return;
				runtime.at = () => undefined;
				resolve();
				throw diskFull();
			};
		});
		await devboxes.suspend(actor, id);
		await failed;
		await expect.poll(() => vi.getTimerCount()).toBeGreaterThan(0);
		expect((await devboxes.get(actor, id)).status).toBe("suspending");
		await vi.advanceTimersByTimeAsync(60_000);
		expect((await reach(id, "suspended")).status).toBe("suspended");
	} finally {
		vi.useRealTimers();
	}
});

test("a log that cannot be written keeps no box from starting, stopping or being removed", async () => {
	await writeFile(join(store.dataDir, "logs"), "not a directory");
	runtime.onStart = (id) => {
		runtime.print(id, "hello\n");
		runtime.report(id, "initialized");
	};
	const { id } = await suspended();
	expect(await devboxes.logs(actor, id)).toEqual([]);
	await devboxes.shutdown(actor, id);
	await expect.poll(() => runtime.boxes.size).toBe(0);
});

test("of a box that prints without end the reports are still heard, and the log says what is missing", async () => {
	runtime.onStart = async (id) => {
		await expect.poll(() => runtime.boxes.get(id)?.followers).toHaveLength(1);
		for (let n = 0; n < 3; n++) runtime.print(id, "y\n".repeat(30_000));
		runtime.report(id, "initialized");
		runtime.print(id, "y\n".repeat(1000));
		runtime.exit(id);
	};
	const { id } = await devboxes.create(actor, {});
	const box = await reach(id, "suspended");
	expect(path(box)).toContain("running");
	const messages = (await devboxes.logs(actor, id)).map(({ message }) => message);
	expect(messages.filter((message) => message === "y").length).toBeLessThan(80_000);
	expect(messages.filter((message) => /bytes of output are left out/.test(message ?? ""))).toHaveLength(1);
});
