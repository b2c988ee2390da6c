/** What lets a browser in for a time, and how that ends: share links, and a token that changes. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launchBrowser, newPerson, openSocket, socketClosed } from "../support/browser.js";
import { Daemon } from "../support/daemon.js";
import { Door } from "../support/door.js";
import { withWebServer } from "../support/web-server.js";

let daemon: Daemon;
let browser: Browser;
let door: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	const params = withWebServer({ tunnel: { auth_mode: "authenticated", wake_on_http: true } }, [8080, 3000]);
	[browser, door] = await Promise.all([launchBrowser(), Door.of(daemon, params)]);
});
afterAll(() => Promise.all([browser?.close(), daemon?.remove()]));

const newPage = async (options = {}) => (await newPerson(browser, options)).newPage();

describe("a share link", () => {
	test("leads to its page, and only its port; the address keeps no secret", async () => {
		const page = await newPage();
		const link = await door.share({ port: 3000, path: "/?week=7" });
		await page.goto(link.url);
		expect(page.url()).toBe(door.url("/?week=7", 3000));
		await page.reload();
		await page.getByRole("heading", { name: "It works" }).waitFor();
		expect((await page.goto(door.url("/", 8080)))!.status()).toBe(401);
		const moved = link.url.replace("//3000-", "//8080-");
		expect((await page.goto(moved))!.status()).toBe(401);
	});

	test("survives suspend and resume", async () => {
		const page = await newPage();
		await page.goto((await door.share({ port: 8080 })).url);
		await door.suspend();
		expect((await page.reload())!.status()).toBe(503);
		await page.getByRole("heading", { name: "It works" }).waitFor();
		expect(await door.status()).toBe("running");
	});

	test("is over when it is deleted, for who came in by it and only for them", async () => {
		const [link, another] = [await door.share({ port: 8080 }), await door.share({ port: 8080 })];
		const [page, others] = [await newPage(), await newPage()];
		await page.goto(link.url);
		await others.goto(another.url);
		expect(await openSocket(page, door.url("/"))).toBe("open");
		expect(await openSocket(others, door.url("/"))).toBe("open");
		await door.unshare(link.id);
		expect(await socketClosed(page)).toBe(1006);
		expect((await page.goto(door.url("/")))!.status()).toBe(401);
		expect((await page.goto(link.url))!.status()).toBe(401);
		expect((await others.reload())!.status()).toBe(200);
	});
});

test("another token ends what the old one has let in", async () => {
	const own = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } }));
	const page = await newPage();
	await page.goto(own.url(`/?gangway_token=${own.token}`));
	expect(await openSocket(page, own.url("/"))).toBe("open");
	await daemon.sdk().api.devboxes.enableTunnel(own.id, { auth_mode: "authenticated", http_keep_alive: false });
	expect(await socketClosed(page)).toBe(1006);
	expect((await page.goto(own.url("/")))!.status()).toBe(401);
});

test("the page of a box that wakes turns into the app, scripts or not", async () => {
	const own = await Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open", wake_on_http: true } }));
	const page = await newPage({ javaScriptEnabled: false });
	await own.suspend();
	expect((await page.goto(own.url("/")))!.status()).toBe(503);
	await page.getByRole("heading", { name: "It works" }).waitFor();
});
