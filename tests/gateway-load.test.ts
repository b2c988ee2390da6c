/** A hundred sessions at once, each with bytes of its own: nothing is lost, and nothing goes to the wrong one. */
import type { ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { person } from "./support/people.js";
import { Conversation, SshClient } from "./support/ssh.js";

const sessionsEach = 5;
const bytes = randomBytes(10_000_000);
let daemon: Daemon;
let box: Box;
beforeAll(async () => {
	daemon = await Daemon.start();
	box = await Box.create(daemon);
});
afterAll(() => daemon?.remove());

/** A connection for `sessionsEach` sessions; ends with the test. */
async function connection(client: SshClient, index: number): Promise<SshClient> {
	const path = join(client.directory, `mux-${index}`);
	const master = new Conversation(client.spawn(["echo open; cat"], ["-M", "-S", path]));
	onTestFinished(() => master.kill());
	await master.sees(/^open$/m);
	return client.with({ ControlPath: path, ControlMaster: "no", ProxyCommand: "false" });
}

async function sha256Of(output: AsyncIterable<Buffer>): Promise<string> {
	const hash = createHash("sha256");
	for await (const chunk of output) hash.update(chunk);
	return hash.digest("hex");
}

/** Sends 10 MB that begin with `mark` to a session that echoes; returns its exit code and whether exactly those came back. */
async function echoes(session: ChildProcess, mark: string): Promise<[code: number, equal: boolean]> {
	const closed = once(session, "close");
	session.stdin!.write(mark);
	session.stdin!.end(bytes);
	const expected = createHash("sha256").update(`open\n${mark}`).update(bytes).digest("hex");
	const equal = (await sha256Of(session.stdout!)) === expected;
	const [code] = await closed;
	return [code, equal];
}

/** Five connections of each client, and as many sessions on each. */
async function expectEchoes(clients: readonly SshClient[]): Promise<void> {
	const connections = await Promise.all(
		clients.flatMap((client) => Array.from({ length: 20 / clients.length }, (_, n) => connection(client, n))),
	);
	const sessions = connections.flatMap((client) =>
		Array.from({ length: sessionsEach }, () => client.spawn(["echo open; exec cat"])),
	);
	expect(sessions.length).toBe(100);
	// All are open before the first one moves anything.
	await Promise.all(sessions.map(({ stdout }) => once(stdout!, "readable")));
	const results = await Promise.all(sessions.map((session, n) => echoes(session, `session ${n}\n`)));
	expect(results).toEqual(sessions.map(() => [0, true]));
}

test("through the gateway, 10 MB each way on 20 connections of 4 users", { timeout: 120_000 }, async () => {
	const people = await Promise.all(["one", "two", "three", "four"].map((name) => person(daemon, name)));
	await expectEchoes(people.map(({ keyFile }) => SshClient.atGateway(daemon, box.id, keyFile)));
});

test("through passthrough, 10 MB each way on 20 connections", { timeout: 120_000 }, async () => {
	await expectEchoes([box.ssh]);
});
