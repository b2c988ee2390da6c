import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { app, openDoor } from "./door.fixture.js";

/** What Chromium makes of our answers where apps do what apps do. */

const secured = { authMode: "authenticated", token: "s3cret" } as const;

let browser: Browser;
beforeAll(async () => {
	browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});
afterAll(() => browser?.close());

async function open(url: string): Promise<Page> {
	const person = await browser.newContext();
	onTestFinished(() => person.close());
	const page = await person.newPage();
	await page.goto(url);
	return page;
}

test("an app may send the browser to another host as soon as it is signed in, as those with a login elsewhere do", async () => {
	const door = await openDoor({ target: secured });
	const login = await app((_req, res) => res.end("<h1>Log in</h1>"));
	const port = await app((_req, res) => res.writeHead(302, { location: `http://127.0.0.1:${login}/` }).end());
	const page = await open(`http://${port}-keya.tunnel.localhost:${door.port}/`);
	await page.locator("#token").fill("s3cret");
	await page.locator("button").click();
	await page.getByRole("heading", { name: "Log in" }).waitFor();
});

test("the form of an app that tells no referrer, and so no origin, is let through", async () => {
	const door = await openDoor({ target: secured });
	const origins: unknown[] = [];
	const port = await app((req, res) => {
		if (req.method === "POST") origins.push(req.headers.origin);
		const page = req.method === "POST" ? "<h1>Thanks</h1>" : "<form method=post><button>Send</button></form>";
		res.writeHead(200, { "content-type": "text/html", "referrer-policy": "no-referrer" }).end(page);
	});
	const page = await open(`http://${port}-keya.tunnel.localhost:${door.port}/?gangway_token=s3cret`);
	await page.locator("button").click();
	await page.getByRole("heading", { name: "Thanks" }).waitFor();
	expect(origins).toEqual(["null"]);
});

test("pages of another devbox cannot embed what is private, whatever they say of themselves; those of the same tunnel can", async () => {
	const door = await openDoor({ target: secured });
	const type = { "content-type": "image/svg+xml" };
	const pictures = await app((_req, res) => res.writeHead(200, type).end('<svg xmlns="http://www.w3.org/2000/svg"/>'));
	const pages = await app((_req, res) => res.writeHead(200, { "content-type": "text/html" }).end());
	const urlOf = (port: number) => `http://${port}-keya.tunnel.localhost:${door.port}/`;
	const page = await open(`${urlOf(pictures)}?gangway_token=s3cret`);
	const shows = (referrerPolicy: string) =>
		page.evaluate<boolean>(`new Promise((resolve) => {
			const image = Object.assign(new Image(), { referrerPolicy: "${referrerPolicy}" });
			image.onload = () => resolve(true);
			image.onerror = () => resolve(false);
			image.src = "${urlOf(pictures)}?" + Math.random();
		})`);
	expect([await shows(""), await shows("no-referrer")]).toEqual([true, true]);
	await page.goto(`${urlOf(pages)}?gangway_token=s3cret`);
	expect([await shows(""), await shows("no-referrer")]).toEqual([true, false]);
	await page.goto(`http://3000-keyb.tunnel.localhost:${pages}/`);
	expect([await shows(""), await shows("no-referrer"), await shows("unsafe-url")]).toEqual([false, false, false]);
});
