import { afterEach, beforeEach, expect, test } from "vitest";
import { specOf, TestBox, TestHost } from "./box.fixture.js";

let host: TestHost;
let box: TestBox;
beforeEach(async () => {
	host = await TestHost.open();
	const spec = specOf("dbx_a");
	await host.runtime.create(spec);
	box = new TestBox(host.runtime, spec);
	await box.start();
});
afterEach(() => host.dispose());

const file = (content: string) => ({ path: "keys", mode: 0o640, content });
const read = async (path: string) => (await box.sh(`cat ${path}`)).stdout;

test("a running box sees the new version, root's and with its mode", async () => {
	await host.runtime.replaceBootFile("dbx_a", file("one"));
	expect(await read("/run/gangway/keys")).toBe("one");
	await host.runtime.replaceBootFile("dbx_a", file("two"));
	expect(await read("/run/gangway/keys")).toBe("two");
	expect((await box.sh("stat -c '%u %g %a' /run/gangway/keys; ls -A /run/gangway")).stdout).toBe(
		"0 0 640\nagent.js\ninit\nkeys\n",
	);
});

test("a link in the file's place is replaced, not followed", async () => {
	await box.sh("echo kept >/tmp/target; ln -s /tmp/target /run/gangway/keys");
	await host.runtime.replaceBootFile("dbx_a", file("one"));
	expect(await read("/run/gangway/keys")).toBe("one");
	expect(await read("/tmp/target")).toBe("kept\n");
});

test("a link in a directory's place leads nowhere, neither in the box nor on the host", async () => {
	for (const target of ["/tmp", "/proc/1/root/tmp"]) {
		await box.sh(`rm -rf /run/gangway; ln -s ${target} /run/gangway`);
		await expect(host.runtime.replaceBootFile("dbx_a", file("one"))).rejects.toMatchObject({ code: "failed" });
		expect((await box.sh("ls -A /tmp")).stdout).toBe("");
	}
});

test("a box that does not run is left alone", async () => {
	await box.stop();
	await host.runtime.replaceBootFile("dbx_a", file("one"));
	await host.runtime.replaceBootFile("dbx_none", file("one"));
	await box.start();
	expect((await box.sh("ls -A /run/gangway")).stdout).toBe("agent.js\ninit\n");
});
