/** The commands of docs/tunnels.md, as somebody pastes them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { shell } from "./support/cli.js";
import { adminApiKey, Daemon } from "./support/daemon.js";
import { filledIn, snippets } from "./support/guide.js";

let daemon: Daemon;

beforeAll(async () => {
	daemon = await Daemon.start();
});
afterAll(() => daemon?.remove());

test("every command of the guide works, and answers with the status that it says", { timeout: 60_000 }, async () => {
	const commands = snippets("sh").join("");
	const pasted = filledIn(commands, {
		"127.0.0.1:7080": `127.0.0.1:${daemon.endpoints.http_port}`,
		"$(cat /var/lib/gangway/admin.key)": adminApiKey,
	});
	const { code, stdout, stderr } = await shell(`set -e\n${pasted}`);
	expect(code, `${stdout}${stderr}`).toBe(0);
	const said = [...commands.matchAll(/ {2}# (\d{3})$/gm)].map(([, status]) => status);
	expect(String(stdout).match(/^\d{3}$/gm)).toEqual(said);
	expect(said.length).toBeGreaterThan(10);
});
