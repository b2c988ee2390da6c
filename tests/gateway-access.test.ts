/** Who the SSH gateway lets in, and how soon it is over when they may not any more. */
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Box } from "./support/box.js";
import { Daemon } from "./support/daemon.js";
import { call, type Person, person } from "./support/people.js";
import { Conversation, makeKey, SshClient } from "./support/ssh.js";
import { until } from "./support/until.js";

let daemon: Daemon;
let box: Box;
let stranger: string;
beforeAll(async () => {
	daemon = await Daemon.start({ env: { GANGWAY_SSH_ADDRESS_FAILURES: "0" } });
	box = await Box.create(daemon);
	stranger = await makeKey(await mkdtemp(join(daemon.dataDir, "stranger-")));
});
afterAll(() => daemon?.remove());

const client = ({ keyFile }: Pick<Person, "keyFile">, devboxId = box.id) =>
	SshClient.atGateway(daemon, devboxId, keyFile).with({ LogLevel: "INFO", KexAlgorithms: "curve25519-sha256" });

/** A session that is open, and ends with the test. */
async function open(ssh: SshClient): Promise<Conversation> {
	const session = new Conversation(ssh.spawn(["echo open; cat"]));
	onTestFinished(() => session.kill());
	await session.sees(/^open$/m);
	return session;
}

describe("refused, in the same words, and logged with the reason", () => {
	test.each([
		["a key that nobody has uploaded", async () => client({ keyFile: stranger }), "unknown_key"],
		["a viewer", async () => client(await person(daemon, "viewer", { role: "viewer" })), "role_may_not_enter"],
		["somebody of another team", async () => client(await person(daemon, "outsider", { own: true })), "not_a_member"],
		[
			"a devbox that does not exist",
			async () => client(await person(daemon, "lost"), "dbx_00000000000000000000000000"),
			"unknown_devbox",
		],
		["a name that is no devbox's", async () => client(await person(daemon, "root"), "root"), "malformed_username"],
	])("%s", async (_, make, reason) => {
		const ssh = await make();
		const { code, stdout, stderr } = await ssh.run("echo inside");
		const words = `${ssh.target}: Permission denied (publickey).`;
		expect([code, String(stdout), stderr.trim().split(/\r?\n/).at(-1)]).toEqual([255, "", words]);
		await until("the reason is in the log", () => daemon.stderr.includes(`"denials":["${reason}"]`));
		const { audit_events } = await call(daemon, "GET", "/v1/audit_events?action=ssh.denied");
		expect(audit_events[0]).toMatchObject({ outcome: "denied", details: { username: ssh.user, reasons: [reason] } });
	});
});

describe("over within five seconds", () => {
	const withdrawn = /access to this devbox was withdrawn/;

	test.each([
		[
			"the key is deleted",
			({ sshKeyId, apiKey }: Person) => call(daemon, "DELETE", `/users/me/ssh-keys/${sshKeyId}`, { apiKey }),
		],
		[
			"the membership is removed",
			({ teamId, userId }: Person) => call(daemon, "DELETE", `/v1/admin/teams/${teamId}/members/${userId}`),
		],
		[
			"the role becomes viewer",
			({ teamId, userId }: Person) =>
				call(daemon, "POST", `/v1/admin/teams/${teamId}/members/${userId}`, { body: { role: "viewer" } }),
		],
		["the user is deleted", ({ userId }: Person) => call(daemon, "DELETE", `/v1/admin/users/${userId}`)],
	])("when %s; others' sessions go on", async (name, withdraw) => {
		const leaver = await person(daemon, name.replaceAll(" ", "-"));
		const stayer = await person(daemon, `not-${name.replaceAll(" ", "-")}`);
		const [leaving, staying] = await Promise.all([open(client(leaver)), open(client(stayer))]);
		await withdraw(leaver);
		expect(await leaving.ended).toBe(255);
		expect(leaving.output).toMatch(withdrawn);
		expect((await client(leaver).run("true")).stderr).toContain("Permission denied (publickey).");
		staying.say("still here\n");
		await staying.sees(/still here/);
	});
});

test("what happened is in the audit: connections, sessions, forwards, files written", async () => {
	const ann = await person(daemon, "ann");
	const ssh = client(ann);
	await ssh.out("cat >/dev/null", "12345");
	await ssh.tool("scp", [ann.keyFile, `${ssh.target}:copied`]);
	await ssh.run("", undefined, ["-W", "127.0.0.1:22"]);
	const actor = { user_id: ann.userId, ssh_key_id: ann.sshKeyId, devbox_id: box.id, peer_address: "127.0.0.1" };
	const events = await until("all of it is recorded", async () => {
		const { audit_events } = await call(daemon, "GET", `/v1/audit_events?action=ssh&user_id=${ann.userId}`);
		return audit_events.length >= 7 && audit_events;
	});
	const of = (action: string) => events.filter((event: { action: string }) => event.action === action);
	expect(of("ssh.connected")).toHaveLength(3);
	expect(
		of("ssh.session")
			.map(({ details }: { details: { program: string } }) => details.program)
			.sort(),
	).toEqual(["exec", "sftp"]);
	expect(of("ssh.session")).toContainEqual(
		expect.objectContaining({ ...actor, details: expect.objectContaining({ program: "exec", bytes_from_client: 5 }) }),
	);
	expect(of("ssh.sftp")).toMatchObject([{ ...actor, details: { files_written: ["copied"] } }]);
	expect(of("ssh.forward")).toMatchObject([
		{ ...actor, details: { channel: "direct-tcpip", destination: "127.0.0.1:22" } },
	]);
});
