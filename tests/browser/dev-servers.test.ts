/** Vite's dev server in a box, as it is: hot reload in a browser, while somebody edits in the box. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Box } from "../support/box.js";
import { inPage, launchBrowser, newPerson } from "../support/browser.js";
import { Daemon } from "../support/daemon.js";
import { Conversation } from "../support/ssh.js";
import { installVite } from "../support/vite.js";

const project = {
	"app/index.html": '<!doctype html><h1></h1><script type="module" src="/main.js"></script>',
	"app/main.js": `
		import { text } from "./text.js";
		const show = (now) => { document.querySelector("h1").textContent = now; };
		show(text);
		import.meta.hot.accept("./text.js", (changed) => show(changed.text));`,
	"app/text.js": 'export const text = "first";',
};

let daemon: Daemon;
let browser: Browser;
let box: Box;

beforeAll(async () => {
	// A name that dev servers do not know, as a domain of one's own is. They let `*.localhost` pass.
	const env = { GANGWAY_DOMAIN: "gangway.test", GANGWAY_BIND: "127.0.0.1", GANGWAY_HTTP_MODE: "serve" };
	[browser, daemon] = await Promise.all([
		launchBrowser("--host-resolver-rules=MAP *.gangway.test 127.0.0.1"),
		Daemon.start({ env }),
	]);
	box = await Box.create(daemon, { file_mounts: project });
	await installVite(box.ssh, "app");
});
afterAll(() => Promise.all([browser?.close(), daemon?.remove()]));

describe.each([
	{ how: "on 0.0.0.0", flags: "--host 0.0.0.0", port: 5173, tunnel: {} },
	{ how: "as it is, on localhost", flags: "", port: 5174, tunnel: { loopback_ports: [5174] } },
])("Vite $how", ({ flags, port, tunnel }) => {
	let vite: Conversation;
	beforeAll(async () => {
		vite = new Conversation(
			box.ssh.spawn([`cd app && node node_modules/vite/bin/vite.js --port ${port} --strictPort ${flags}`]),
		);
		await vite.sees(/ready in/);
	});
	afterAll(() => vite?.kill());

	async function open(rule: "preserve" | "localhost"): Promise<{ page: Page; status: number }> {
		const params = { auth_mode: "open" as const, ...tunnel, port_rules: { [port]: { host_header: rule } } };
		const enabled = await daemon.sdk().api.devboxes.enableTunnel(box.id, params);
		const page = await (await newPerson(browser)).newPage();
		const answer = await page.goto(daemon.tunnelUrl(enabled.tunnel_key, port));
		return { page, status: answer!.status() };
	}

	test("refuses a name that it does not know", async () => {
		expect((await open("preserve")).status).toBe(403);
	});

	test("with host_header localhost: an edit in the box shows in the page, without a reload", async () => {
		await box.ssh.out(`echo 'export const text = "first";' > app/text.js`);
		const { page } = await open("localhost");
		await page.getByRole("heading", { name: "first" }).waitFor();
		await inPage(page, "window.stays = true");
		await box.ssh.out(`echo 'export const text = "second";' > app/text.js`);
		await page.getByRole("heading", { name: "second" }).waitFor();
		expect(await inPage(page, "window.stays")).toBe(true);
	});
});
