/** People with a browser at an authenticated tunnel: Chromium signs in, and uses what it is given. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { askSocket, fetchIn, firstOfSocket, inPage, launchBrowser, newPerson, openSocket } from "../support/browser.js";
import { curl } from "../support/curl.js";
import { Daemon } from "../support/daemon.js";
import { Door } from "../support/door.js";
import { withWebServer } from "../support/web-server.js";

const cookieName = "__Host-gangway";

let daemon: Daemon;
let browser: Browser;
/** A private one, and one of somebody else that everybody may open. */
let door: Door;
let stranger: Door;

beforeAll(async () => {
	daemon = await Daemon.start();
	[browser, door, stranger] = await Promise.all([
		launchBrowser(),
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "authenticated" } }, [8080, 3000])),
		Door.of(daemon, withWebServer({ tunnel: { auth_mode: "open" } })),
	]);
});
afterAll(() => Promise.all([browser?.close(), daemon?.remove()]));

describe.each(["http", "https"] as const)("over %s", (scheme) => {
	const url = (path: string, port = 8080, of = door) =>
		scheme === "http" ? of.url(path, port) : of.secureUrl(path, port);
	const withToken = (path: string, port = 8080) => url(`${path}?gangway_token=${door.token}`, port);
	const newPage = async () => (await newPerson(browser)).newPage();

	async function signIn(page: Page, token: string): Promise<void> {
		await page.locator("input[type=password]").fill(token);
		await page.locator("button").click();
	}

	/** A page of the app, let in. */
	async function signedIn(port = 8080): Promise<Page> {
		const page = await newPage();
		await page.goto(withToken("/", port));
		await page.getByRole("heading", { name: "It works" }).waitFor();
		return page;
	}

	describe("the sign-in page", () => {
		test("asks for the token, says when it is wrong, and leads to where one wanted to go", async () => {
			const page = await newPage();
			const answer = await page.goto(url("/?week=7"));
			expect(answer!.status()).toBe(401);
			expect(answer!.headers()).toMatchObject({ "cache-control": "no-store", "referrer-policy": "no-referrer" });
			await signIn(page, "wrong");
			await page.getByRole("heading", { name: "That is not the token" }).waitFor();
			expect(await page.context().cookies()).toEqual([]);
			await signIn(page, door.token);
			await page.getByRole("heading", { name: "It works" }).waitFor();
			expect(page.url()).toBe(url("/?week=7"));
		});

		test("works without scripts", async () => {
			const page = await (await newPerson(browser, { javaScriptEnabled: false })).newPage();
			await page.goto(url("/"));
			await signIn(page, door.token);
			await page.getByRole("heading", { name: "It works" }).waitFor();
		});
	});

	test("signing out ends it", async () => {
		const page = await signedIn();
		await page.goto(url("/.well-known/gangway/sign-out"));
		await page.locator("button").click();
		await page.locator("input[type=password]").waitFor();
		expect(await page.context().cookies()).toEqual([]);
		expect((await page.goto(url("/")))!.status()).toBe(401);
	});

	describe("?gangway_token=", () => {
		test("lets in and goes from the address, the rest of which stays", async () => {
			const page = await newPage();
			await page.goto(url(`/?a=1&gangway_token=${door.token}&b=%20`));
			expect(page.url()).toBe(url("/?a=1&b=%20"));
			await page.getByRole("heading", { name: "It works" }).waitFor();
		});

		test("a wrong one lets nobody in", async () => {
			const page = await newPage();
			const answer = await page.goto(url("/?gangway_token=wrong"));
			expect(answer!.status()).toBe(401);
			expect(await page.context().cookies()).toEqual([]);
		});
	});

	describe("the cookie", () => {
		test("is for this host only, secure, and out of reach for scripts", async () => {
			const page = await signedIn();
			expect(await page.context().cookies()).toEqual([
				expect.objectContaining({
					name: cookieName,
					domain: door.host(),
					path: "/",
					httpOnly: true,
					secure: true,
					sameSite: "Lax",
				}),
			]);
			expect(await inPage(page, "document.cookie")).toBe("");
		});

		test("reaches the app neither with pages, fetches nor WebSockets; the app's own do", async () => {
			const page = await signedIn();
			await inPage(page, `document.cookie = "mine=1"`);
			const echo = await fetchIn(page, "/echo");
			expect(JSON.parse(echo.text).headers.cookie).toBe("mine=1");
			expect(await openSocket(page, url("/headers"))).toBe("open");
			const seen = await firstOfSocket(page);
			expect(JSON.parse(seen).cookie).toBe("mine=1");
		});

		test("cannot be overwritten by the app", async () => {
			const page = await signedIn();
			const [before] = await page.context().cookies();
			expect((await fetchIn(page, "/overwrite")).text).toBe("tried");
			const after = await page.context().cookies();
			expect(after).toContainEqual(before);
			expect(after.map(({ name }) => name).sort()).toEqual([cookieName, "mine"]);
		});

		test("authenticates the page's fetches, WebSockets and event streams", async () => {
			const page = await signedIn();
			const posted = await fetchIn(page, "/echo", { method: "POST", body: "from the page" });
			expect(JSON.parse(posted.text)).toMatchObject({ method: "POST", body: "from the page" });
			expect(await openSocket(page, url("/"))).toBe("open");
			expect(await askSocket(page, "hello")).toBe("hello");
			const event = `new Promise((resolve) => { new EventSource("/events?count=2").onmessage = ({ data }) => resolve(data); })`;
			expect(await inPage(page, event)).toBe("1");
		});

		test("of one port opens no other", async () => {
			const page = await signedIn(3000);
			expect((await page.goto(url("/", 8080)))!.status()).toBe(401);
		});
	});

	describe("a private page and a private API on another port", () => {
		const call = { method: "PUT", credentials: "include", headers: { "x-custom": "1" }, body: "from the page" };

		test("talk once somebody has signed in at both; Gangway answers the preflight", async () => {
			const page = await signedIn(3000);
			expect((await fetchIn(page, url("/cors"), call)).status).not.toBe(200);
			const other = await page.context().newPage();
			await other.goto(withToken("/"));
			const { status, text } = await fetchIn(page, url("/cors"), call);
			expect(status, text).toBe(200);
			expect(JSON.parse(text)).toMatchObject({ method: "PUT", body: "from the page", headers: { "x-custom": "1" } });
			expect(await openSocket(page, url("/"))).toBe("open");
		});
	});

	describe("somebody else's page, which to the browser is the same site", () => {
		async function strangersPage(): Promise<Page> {
			const page = await signedIn();
			await page.goto(url("/", 8080, stranger));
			return page;
		}

		test("cannot POST with the cookie", async () => {
			const page = await strangersPage();
			await fetchIn(page, url("/posts"), { method: "POST", mode: "no-cors", credentials: "include", body: "forged" });
			expect((await curl(...door.credential, door.url("/posts"))).text).toBe("[]");
		});

		test("cannot submit a form with the cookie", async () => {
			const page = await strangersPage();
			const answer = page.waitForResponse(url("/posts"));
			await inPage(
				page,
				`(() => { const form = Object.assign(document.createElement("form"), { method: "post", action: ${JSON.stringify(url("/posts"))} });
					document.body.append(form); form.submit(); })()`,
			);
			expect((await answer).status()).toBe(403);
			expect((await curl(...door.credential, door.url("/posts"))).text).toBe("[]");
		});

		test("cannot open a WebSocket with the cookie, nor read", async () => {
			const page = await strangersPage();
			expect(await openSocket(page, url("/"))).toBe(1006);
			expect((await fetchIn(page, url("/echo"), { credentials: "include" })).status).toBe(0);
		});
	});
});
