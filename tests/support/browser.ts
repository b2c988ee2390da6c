import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { onTestFinished } from "vitest";

/** Debian's Chromium, headless. It finds `*.localhost` by itself. */
export function launchBrowser(...flags: string[]): Promise<Browser> {
	return chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", ...flags] });
}

/** A person of their own: no cookies yet. Leaves at the end of the test. */
export async function newPerson(browser: Browser, options: BrowserContextOptions = {}): Promise<BrowserContext> {
	const person = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
	person.setDefaultTimeout(15_000);
	onTestFinished(() => person.close());
	return person;
}

/** What a script in the page makes of it: the source of an expression, which may be a promise. */
export function inPage<T>(page: Page, expression: string): Promise<T> {
	return page.evaluate<T>(expression);
}

/** The page opens a WebSocket. "open", or the code with which it was closed at once. */
export function openSocket(page: Page, url: string): Promise<"open" | number> {
	return inPage(
		page,
		`new Promise((resolve) => {
			window.socket = new WebSocket(${JSON.stringify(url.replace(/^http/, "ws"))});
			socket.onopen = () => resolve("open");
			socket.first = new Promise((heard) => { socket.onmessage = ({ data }) => heard(data); });
			window.socketClosed = new Promise((closed) => { socket.onclose = ({ code }) => { closed(code); resolve(code); }; });
		})`,
	);
}

/** What the box sends first over the page's WebSocket. */
export function firstOfSocket(page: Page): Promise<string> {
	return inPage(page, "socket.first");
}

/** The answer to a message over the page's WebSocket. */
export function askSocket(page: Page, message: string): Promise<string> {
	return inPage(
		page,
		`new Promise((resolve) => { socket.onmessage = ({ data }) => resolve(data); socket.send(${JSON.stringify(message)}); })`,
	);
}

/** The code with which the page's WebSocket ends. */
export function socketClosed(page: Page): Promise<number> {
	return inPage(page, "socketClosed");
}

/** The page fetches; `init` as in `fetch`. The body as text, or why there was none. */
export function fetchIn(page: Page, url: string, init: object = {}): Promise<{ status: number; text: string }> {
	return inPage(
		page,
		`fetch(${JSON.stringify(url)}, ${JSON.stringify(init)}).then(
			async (response) => ({ status: response.status, text: await response.text() }),
			(error) => ({ status: 0, text: String(error) }),
		)`,
	);
}
