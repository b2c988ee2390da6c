/** Getting rid of a devbox's SSH key that somebody has, with real devboxes. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Box } from "./support/box.js";
import { gangway } from "./support/cli.js";
import { adminApiKey, Daemon } from "./support/daemon.js";
import { Conversation, SshClient } from "./support/ssh.js";

let daemon: Daemon;
beforeAll(async () => {
	daemon = await Daemon.start();
});
afterAll(() => daemon?.remove());

async function admin(...args: string[]) {
	const env = { GANGWAY_DATA_DIR: daemon.dataDir, GANGWAY_ADMIN_API_KEY: adminApiKey };
	const { code, stdout, stderr } = await gangway(["admin", ...args, "--output", "json"], { cwd: daemon.dataDir, env });
	expect([code, stderr]).toEqual([0, ""]);
	return JSON.parse(String(stdout));
}

async function rotate(id: string): Promise<{ ssh_private_key: string }> {
	const response = await fetch(`http://127.0.0.1:${daemon.endpoints.http_port}/v1/devboxes/${id}/rotate_ssh_key`, {
		method: "POST",
		headers: { authorization: `Bearer ${adminApiKey}` },
	});
	expect(response.status).toBe(200);
	return (await response.json()) as { ssh_private_key: string };
}

async function expectRefused(client: SshClient) {
	const { code, stderr } = await client.run("echo inside");
	expect([code, stderr]).toEqual([255, expect.stringContaining("Permission denied (publickey).")]);
}

test("a rotated key opens nothing, at once; who is in with it is out; the new one opens the box", async () => {
	const { id, ssh: former } = await Box.create(daemon);
	const inside = new Conversation(former.spawn(["echo inside; cat"]));
	await inside.sees(/inside/);
	const { ssh_private_key } = await rotate(id);
	expect(await inside.ended).not.toBe(0);
	await expectRefused(former);
	const present = await SshClient.for(daemon, id);
	expect(await present.out("echo inside")).toBe("inside");
	expect((await daemon.sdk().api.devboxes.createSSHKey(id)).ssh_private_key).toBe(ssh_private_key);
	// The daemon itself, by its own connection, and after a restart.
	await daemon.stop();
	await daemon.start();
	expect(await present.out("echo inside")).toBe("inside");
	await expectRefused(former);
});

test("a suspended box takes only the new key when it runs again", async () => {
	const { id, ssh: former } = await Box.create(daemon);
	const { devboxes } = daemon.sdk().api;
	await devboxes.suspend(id);
	await devboxes.awaitSuspended(id);
	await rotate(id);
	const present = await SshClient.for(daemon, id);
	await devboxes.resume(id);
	await devboxes.awaitRunning(id);
	expect(await present.out("echo inside")).toBe("inside");
	await expectRefused(former);
});

test("who leaves the team takes no key along", async () => {
	const { id } = await Box.create(daemon);
	await admin("user", "create", "ann");
	await admin("member", "add", "default", "ann", "--role", "member");
	const { key } = await admin("key", "create", "default", "ann");
	const { ssh_private_key } = await daemon.sdk({ bearerToken: key }).api.devboxes.createSSHKey(id);
	const theirs = await SshClient.for(daemon, id);
	const own = await SshClient.for(daemon, id);
	expect((await daemon.sdk().api.devboxes.createSSHKey(id)).ssh_private_key).toBe(ssh_private_key);
	const inside = new Conversation(theirs.spawn(["echo inside; cat"]));
	await inside.sees(/inside/);
	await admin("member", "remove", "default", "ann");
	expect(await inside.ended).not.toBe(0);
	await expectRefused(own);
	await expect(daemon.sdk({ bearerToken: key }).api.devboxes.createSSHKey(id)).rejects.toMatchObject({ status: 401 });
	expect(await (await SshClient.for(daemon, id)).out("echo inside")).toBe("inside");
});

test("a team that switches its passthrough off is not reached by it, and what is open there ends", async () => {
	const { ssh } = await Box.create(daemon);
	const inside = new Conversation(ssh.spawn(["echo inside; cat"]));
	await inside.sees(/inside/);
	await admin("team", "update", "default", "--passthrough", "off");
	expect(await inside.ended).not.toBe(0);
	expect((await ssh.run("echo inside")).code).toBe(255);
	await admin("team", "update", "default", "--passthrough", "on");
	expect(await ssh.out("echo inside")).toBe("inside");
});
