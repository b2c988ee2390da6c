/** Clocks that need no call to run: what ends a silent session and an idle devbox, and what holds that off. */
import { setInterval } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { Conversation } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
beforeAll(async () => {
	daemon = await Daemon.start({ env: { GANGWAY_SSH_IDLE_TIMEOUT: "3" } });
});
afterAll(() => daemon?.remove());

/** A session that has got as far as its command, which says so by the line `open`. */
async function open(test: TestContext, box: Box, command: string, ...options: string[]): Promise<Conversation> {
	const session = new Conversation(box.ssh.spawn([command], options));
	test.onTestFinished(() => session.kill());
	await session.sees(/^open$/m);
	return session;
}

/** For what is only true because time has passed. */
async function passed(sinceMs: number, milliseconds: number): Promise<void> {
	for await (const _ of setInterval(100)) if (Date.now() - sinceMs > milliseconds) return;
}

function at(view: Awaited<ReturnType<Box["view"]>>, status: string): number {
	return Number(view.state_transitions.findLast((transition) => transition.status === status)!.transition_time_ms);
}

// They all wait, so they wait together.
describe.concurrent("the SSH idle timeout", () => {
	test("cuts a silent session; one with keepalives and one that talks outlive it", async (test) => {
		const box = await Box.create(daemon);
		const began = Date.now();
		const alive = await open(test, box, "echo open; cat", "-o", "ServerAliveInterval=1");
		const talking = await open(test, box, "echo open; while echo tick; do sleep 0.5; done");
		const silent = await open(test, box, "echo open; cat");
		expect(await silent.ended).toBe(255);
		expect(Date.now() - began).toBeGreaterThan(3000);
		// And another one, all of whose time the others have behind them too.
		expect(await (await open(test, box, "echo open; cat")).ended).toBe(255);
		alive.say("still here\n");
		await alive.sees(/still here/);
		talking.output = "";
		await talking.sees(/tick/);
		expect(await alive.hangUp()).toBe(0);
	});

	test("ends what a client that fell silent has left in the box", async (test) => {
		const box = await Box.create(daemon);
		const session = await open(test, box, "echo $$ >~/pid; echo open; exec cat");
		expect((await box.ssh.run("kill -0 $(cat ~/pid)")).code).toBe(0);
		expect(await session.ended).toBe(255);
		await until("the process ends", async () => (await box.ssh.run("kill -0 $(cat ~/pid)")).code !== 0);
	});
});

describe.concurrent("an idle policy", () => {
	const idleAfter = (seconds: number) => ({ idle_time_seconds: seconds, on_idle: "suspend" as const });

	test("suspends a devbox after its time, and again after a resume", async () => {
		const box = await Box.create(daemon, { launch_parameters: { lifecycle: { after_idle: idleAfter(2) } } });
		const first = await box.awaitStatus("suspended");
		expect(at(first, "suspending") - at(first, "running")).toBeGreaterThanOrEqual(2000);
		await box.resume();
		const second = await box.awaitStatus("suspended");
		expect(at(second, "suspending") - at(second, "running")).toBeGreaterThanOrEqual(2000);
		expect(at(second, "suspending")).toBeGreaterThan(at(first, "suspending"));
	});

	test("is not held off by an SSH session that sends but keepalives, which ends with the box", async (test) => {
		const box = await Box.create(daemon, { launch_parameters: { after_idle: idleAfter(3) } });
		const session = await open(test, box, "echo open; cat", "-o", "ServerAliveInterval=1");
		await box.awaitStatus("suspended");
		expect(await session.ended).toBe(255);
	});

	test("is held off by an SSH session that works", { timeout: 60_000 }, async (test) => {
		// Longer than the 30 seconds in which what is said may come from somebody who never logs in.
		const idleSeconds = 33;
		const box = await Box.create(daemon, { launch_parameters: { after_idle: idleAfter(idleSeconds) } });
		const session = await open(test, box, "echo open; while head -c 2048 /dev/zero; do sleep 0.2; done");
		const running = at(await box.view(), "running");
		await passed(running, (idleSeconds + 2) * 1000);
		expect((await box.view()).status).toBe("running");
		await session.kill();
	});

	test("takes the place of keep_alive_time_seconds", async () => {
		const box = await Box.create(daemon, {
			launch_parameters: { after_idle: idleAfter(60), keep_alive_time_seconds: 1 },
		});
		await passed(at(await box.view(), "running"), 2000);
		expect((await box.view()).status).toBe("running");
	});
});

describe.concurrent("keep_alive_time_seconds", () => {
	test("is the longest a devbox may run, whatever it does, and stands still while it sleeps", async () => {
		const { devboxes } = daemon.sdk().api;
		const box = await Box.create(daemon, { launch_parameters: { keep_alive_time_seconds: 4 } });
		await box.suspend();
		await passed(Date.now(), 4500);
		expect((await box.view()).status).toBe("suspended");
		await box.resume();
		await devboxes.keepAlive(box.id);
		const view = await box.awaitStatus("shutdown");
		expect(view).toMatchObject({ shutdown_reason: "keep_alive_timeout", failure_reason: null });
		await expect(devboxes.createSSHKey(box.id)).rejects.toMatchObject({ status: 409 });
	});
});
