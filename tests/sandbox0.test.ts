/** The official client of the Sandbox0 dialect, unchanged, against the built daemon and real devboxes. */
import { apis, Client, runtime } from "sandbox0";
import { afterAll, beforeAll, expect, test } from "vitest";
import { shell } from "./support/cli.js";
import { adminApiKey, Daemon } from "./support/daemon.js";
import { SshClient } from "./support/ssh.js";

let daemon: Daemon;
let baseUrl: string;
let client: Client;
beforeAll(async () => {
	daemon = await Daemon.start();
	baseUrl = `http://127.0.0.1:${daemon.endpoints.http_port}`;
	client = new Client({ baseUrl, token: adminApiKey });
});
afterAll(() => daemon?.remove());

test("a sandbox's life, which is a devbox's", async () => {
	const { id, status } = await client.sandboxes.claim("default", {
		memory: "1Gi",
		config: { envVars: { GREETING: "hello" } },
	});
	expect(status).toBe("running");
	const detail = await client.sandboxes.get(id);
	expect(detail).toMatchObject({ id, status: "running", paused: false, autoResume: true, runtimeGeneration: 1 });
	expect(detail.ssh).toMatchObject({ host: "127.0.0.1", username: id });

	const devbox = await daemon.sdk().api.devboxes.retrieve(id);
	expect(devbox).toMatchObject({
		status: "running",
		launch_parameters: { custom_gb_memory: 1, custom_cpu_cores: 0.5 },
	});
	const ssh = await SshClient.for(daemon, id);
	expect(await ssh.out("echo $GREETING >kept; cat kept")).toBe("hello");

	expect(await client.sandboxes.pause(id)).toMatchObject({ paused: true, status: "paused" });
	expect((await client.sandboxes.list({ paused: true })).sandboxes).toMatchObject([{ id, status: "paused" }]);
	expect((await daemon.sdk().api.devboxes.retrieve(id)).status).toBe("suspended");
	expect(await client.sandboxes.resumeAndWait(id)).toMatchObject({ status: "running", runtimeGeneration: 2 });
	expect(await ssh.out("cat kept")).toBe("hello");

	const { expiresAt } = await client.sandboxes.refresh(id, { duration: 3600 });
	expect((await client.sandboxes.status(id)).expiresAt).toBe(expiresAt.toISOString());
	expect((await client.sandboxes.delete(id)).data?.message).toBe(`sandbox ${id} is deleted`);
	await expect(client.sandboxes.get(id)).rejects.toMatchObject({ statusCode: 404, code: "not_found" });
	expect((await daemon.sdk().api.devboxes.retrieve(id)).status).toBe("shutdown");
});

test("a sandbox is paused when its time is over", async () => {
	const { id } = await client.sandboxes.claim("default", { ttl: 2, hardTtl: 3600 });
	const paused = await client.sandboxes.waitForLifecycle(id, (sandbox) => sandbox.status === "paused");
	expect(paused.hardExpiresAt.getTime() - paused.claimedAt.getTime()).toBe(3_600_000);
	await client.sandboxes.delete(id);
});

test("an SSH key that ssh-keygen made opens a sandbox at the address that its detail tells, until it is deleted", async () => {
	const users = new apis.UsersApi(new runtime.Configuration({ basePath: baseUrl, accessToken: adminApiKey }));
	const file = `${daemon.dataDir}/user-key`;
	await shell(`ssh-keygen -q -t ed25519 -N '' -C 'ann@laptop' -f ${file}`);
	const publicKey = String((await shell(`cat ${file}.pub`)).stdout);
	const fingerprint = String((await shell(`ssh-keygen -l -f ${file}.pub`)).stdout).split(" ")[1];
	const upload = () => users.usersMeSshKeysPost({ createSSHPublicKeyRequest: { name: "laptop", publicKey } });
	const { data: key } = await upload();
	expect(key).toMatchObject({ name: "laptop", publicKey: publicKey.trim(), fingerprintSha256: fingerprint });
	await expect(upload()).rejects.toMatchObject({ response: { status: 409 } });
	const privateKey = String((await shell(`cat ${file}`)).stdout);
	const mistake = users.usersMeSshKeysPost({ createSSHPublicKeyRequest: { name: "x", publicKey: privateKey } });
	await expect(mistake).rejects.toMatchObject({ response: { status: 400 } });
	expect((await users.usersMeSshKeysGet()).data?.sshKeys).toEqual([key]);

	const { id } = await client.sandboxes.claim("default");
	const { host, port, username } = (await client.sandboxes.get(id)).ssh!;
	const options =
		"-F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
	const enter = () => shell(`ssh ${options} -i ${file} -p ${port} ${username}@${host} 'echo inside $(hostname)'`);
	expect(String((await enter()).stdout)).toBe(`inside ${id.replace("_", "-")}\n`);
	await users.usersMeSshKeysIdDelete({ id: key!.id });
	expect((await users.usersMeSshKeysGet()).data?.sshKeys).toEqual([]);
	expect(await enter()).toMatchObject({ code: 255, stderr: expect.stringContaining("Permission denied (publickey)") });
	for (const line of privateKey.split("\n").slice(1, -2)) expect(daemon.output).not.toContain(line);
});
