import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createDecide } from "./decide.js";
import type { BodyRequest, Decision, LocalResponse, ProxyDecision } from "./decision.js";
import { safeReturn } from "./sign-in.js";
import { FakeDirectory, headerOf, passes, request, route, target } from "./tunnel.fixture.js";

const now = 1_000_000_000_000;
const weekSeconds = 7 * 24 * 60 * 60;
const html = { accept: "text/html,*/*;q=0.8" };
const ownPage = { ...html, "sec-fetch-site": "same-origin", origin: "null" };
const signInPath = "/.well-known/gangway/sign-in";
const signOutPath = "/.well-known/gangway/sign-out";
const expiresAtMs = now + 90_500;
const links = new Map([["shl_a", { port: 3000, expiresAtMs }]]);
const secret = target({ authMode: "authenticated", token: "s3cret+/=", shareLinks: links });

type Asked = Parameters<typeof request>[0];

function setup(...targets: Parameters<typeof target>[0][]) {
	const all = targets.length === 0 ? [secret] : targets.map((change) => ({ ...secret, ...change }));
	const directory = new FakeDirectory(...all);
	const decide = createDecide({ directory, route, passes, now: () => now, requestId: () => "req-1" });
	const ask = async (info: Asked): Promise<Decision> => decide(request(info));
	const local = async (info: Asked) => (await ask(info)) as LocalResponse;
	const post = async (form: Record<string, string>, info: Asked = {}) => {
		const read = (await ask({ method: "POST", target: signInPath, headers: ownPage, ...info })) as BodyRequest;
		return read.answer(Buffer.from(new URLSearchParams(form).toString()));
	};
	return { directory, ask, local, post };
}

/** What a browser would send after this response, at the same port. */
function cookieOf(response: LocalResponse): string {
	return headerOf(response, "set-cookie")!.split(";")[0]!;
}

describe("somebody without a credential", () => {
	test("gets a form that works without scripts and leads back to where they wanted to go", async () => {
		const { local } = setup();
		const response = await local({ target: '/a?b=1&c="<x>', headers: html });
		expect(response.status).toBe(401);
		expect(response.body).toContain(`<form method="post" action="${signInPath}">`);
		expect(response.body).toContain('name="return" value="/a?b=1&amp;c=&quot;&lt;x&gt;"');
		expect(response.body).toMatch(/<input [^>]*type="password"/);
		expect(response.body).not.toContain("<script");
		expect(headerOf(response, "content-security-policy")).toContain("frame-ancestors 'none'");
		expect(headerOf(response, "www-authenticate")).toBe('Bearer realm="gangway"');
	});

	test("gets JSON in a program", async () => {
		const response = await setup().local({});
		expect(JSON.parse(response.body).error.code).toBe("unauthorized");
	});

	test("who sent a form is not led back to what it was sent to", async () => {
		const response = await setup().local({ method: "POST", target: "/delete", headers: html });
		expect(response.body).toContain('name="return" value="/"');
	});
});

describe("signing in with the form", () => {
	test("gives a cookie for a week that lets this browser in to this port, and leads back", async () => {
		const { post, ask, directory } = setup();
		const response = await post({ token: "s3cret+/=", return: "/a?b=%20+%2f&c" });
		expect(response.status).toBe(303);
		expect(headerOf(response, "location")).toBe("/a?b=%20+%2f&c");
		expect(headerOf(response, "set-cookie")).toMatch(
			new RegExp(`^__Host-gangway=[\\w.-]+; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${weekSeconds}$`),
		);
		expect(headerOf(response, "cache-control")).toBe("no-store");
		expect(headerOf(response, "referrer-policy")).toBe("no-referrer");
		expect((await ask({ headers: { cookie: cookieOf(response) } })).kind).toBe("proxy");
		expect(directory).toMatchObject({ woken: [], active: [] });
	});

	test("takes a token with the white space that it was pasted with", async () => {
		expect((await setup().post({ token: " s3cret+/=\n", return: "/" })).status).toBe(303);
	});

	test.each<Record<string, string>>([{ token: "wrong" }, { token: "" }, {}, { token: "s3cret" }])(
		"with %j shows the form again and sets nothing",
		async (form) => {
			const response = await setup().post({ ...form, return: "/a" });
			expect(response.status).toBe(401);
			expect(response.body).toContain("not the token");
			expect(response.body).toContain('name="return" value="/a"');
			expect(headerOf(response, "set-cookie")).toBeUndefined();
		},
	);

	test("reads no more than a form can have", async () => {
		expect(await setup().ask({ method: "POST", target: signInPath, headers: ownPage })).toMatchObject({
			kind: "read",
			limit: 8192,
		});
	});

	test.each<[string, Record<string, string>]>([
		["another tunnel's page", { "sec-fetch-site": "same-site", origin: "https://3000-keyb.tunnel.test" }],
		["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.example" }],
		["another port's page, in an old browser", { origin: "https://8080-keya.tunnel.test" }],
		["an opaque origin, in an old browser", { origin: "null" }],
		["nobody knows where", {}],
	])("is refused from %s: nobody signs a browser in but its user", async (_name, headers) => {
		const response = await setup().local({ method: "POST", target: signInPath, headers });
		expect(response).toMatchObject({ kind: "respond", status: 403 });
	});

	test("works in an old browser", async () => {
		const headers = { ...html, origin: "https://3000-keya.tunnel.test" };
		expect((await setup().post({ token: "s3cret+/=" }, { headers })).status).toBe(303);
	});

	test("works through a proxy with a name of its own", async () => {
		const headers = {
			...html,
			"x-runloop-host": "3000-keya.tunnel.test",
			origin: "https://preview.customer.example",
		};
		const response = await setup().post({ token: "s3cret+/=" }, { headers, authority: "preview.customer.example" });
		expect(response.status).toBe(303);
	});

	test("has a page of its own", async () => {
		const response = await setup().local({ target: signInPath, headers: html });
		expect(response.status).toBe(200);
		expect(response.body).toContain('value="/"');
		expect((await setup().local({ target: signInPath, method: "PUT" })).status).toBe(405);
	});

	test("is the app's own business on an open tunnel, and elsewhere", async () => {
		const { ask } = setup({ authMode: "open", token: null });
		for (const path of [signInPath, signOutPath]) {
			expect((await ask({ target: path, method: "POST", headers: ownPage })).kind).toBe("proxy");
		}
		const bearer = { authorization: "Bearer s3cret+/=" };
		for (const path of [`${signInPath}/x`, `${signInPath}s`, "/.well-known/gangway/", "/.well-known/other"]) {
			expect((await setup().ask({ target: path, headers: bearer })).kind).toBe("proxy");
		}
	});
});

describe("a signed-in browser", () => {
	test("is let in to no other port and no other tunnel", async () => {
		const { post, ask } = setup({}, { key: "keyb", devboxId: "dbx_b" });
		const headers = { cookie: cookieOf(await post({ token: "s3cret+/=" })) };
		expect((await ask({ headers })).kind).toBe("proxy");
		for (const authority of ["8080-keya.tunnel.test", "3000-keyb.tunnel.test"]) {
			expect(await ask({ headers, authority })).toMatchObject({ kind: "respond", status: 401 });
		}
	});

	test("is out once the token is another one", async () => {
		const headers = { cookie: cookieOf(await setup().post({ token: "s3cret+/=" })) };
		expect((await setup({ generation: 2, token: "other" }).local({ headers })).status).toBe(401);
	});

	test("signs out on a page of ours, and nowhere else", async () => {
		const { local } = setup();
		const page = await local({ target: signOutPath, headers: html });
		expect(page.body).toContain(`<form method="post" action="${signOutPath}">`);
		const response = await local({ target: signOutPath, method: "POST", headers: ownPage });
		expect(response.status).toBe(303);
		expect(headerOf(response, "location")).toBe(signInPath);
		expect(headerOf(response, "set-cookie")).toContain("Max-Age=0");
		const foreign = { "sec-fetch-site": "same-site" };
		expect((await local({ target: signOutPath, method: "POST", headers: foreign })).status).toBe(403);
	});
});

describe("the token in the URL", () => {
	test.each(["GET", "HEAD"])("of a %s is exchanged for a cookie, and the URL is rid of it", async (method) => {
		const { local, ask } = setup();
		const response = await local({ method, target: "/a/%2e?x=1&gangway_token=s3cret%2B/%3D&y=%20+&&z" });
		expect(response.status).toBe(303);
		expect(headerOf(response, "location")).toBe("/a/%2e?x=1&y=%20+&&z");
		expect(headerOf(response, "set-cookie")).toContain(`Max-Age=${weekSeconds}`);
		expect(headerOf(response, "referrer-policy")).toBe("no-referrer");
		expect((await ask({ headers: { cookie: cookieOf(response) } })).kind).toBe("proxy");
	});

	test.each(["wrong", "", "s3cret", "%zz"])("that is %j is 401, says so, and never reaches the app", async (token) => {
		const { local } = setup();
		for (const headers of [html, { ...html, authorization: "Bearer s3cret+/=" }]) {
			const response = await local({ target: `/a?gangway_token=${token}&x=1`, headers });
			expect(response.status).toBe(401);
			expect(response.body).toContain("not the token");
			expect(response.body).toContain('name="return" value="/a?x=1"');
			expect(headerOf(response, "set-cookie")).toBeUndefined();
		}
	});

	test.each<Asked>([{ method: "POST" }, { method: "OPTIONS" }, { upgrade: true }])(
		"of %j is refused, right or wrong, rather than shown to the app",
		async (info) => {
			const { local } = setup();
			for (const name of ["gangway_token", "gangway_share"]) {
				const headers = { authorization: "Bearer s3cret+/=" };
				const response = await local({ ...info, target: `/?${name}=s3cret%2B/%3D`, headers });
				expect(response).toMatchObject({ kind: "respond", status: 400 });
				expect(response.body).not.toContain("s3cret");
			}
		},
	);

	test("is taken out under an encoded name, too: the app would read it", async () => {
		for (const name of ["gangway%5Ftoken", "%67%61ngwa%79_token", "gangway_token=x&gangway%5ftoken"]) {
			const response = await setup().local({ target: `/a?b&${name}=s3cret%2B/%3D`, headers: html });
			expect(response.status).toBe(name.includes("=") ? 401 : 303);
			expect(JSON.stringify(response)).not.toContain("s3cret");
		}
	});

	test("means nothing to an open tunnel", async () => {
		expect((await setup({ authMode: "open", token: null }).ask({ target: "/?gangway_token=x" })).kind).toBe("proxy");
	});
});

describe("a share link", () => {
	const signed = (change: object = {}) =>
		passes.sign("link", {
			tunnelKey: "keya",
			generation: 1,
			port: 3000,
			shareLinkId: "shl_a",
			expiresAtMs,
			...change,
		});

	test("lets its holder in until it expires, page reloads included", async () => {
		const { local, ask } = setup();
		const response = await local({ target: `/report?gangway_share=${signed()}&page=2` });
		expect(response.status).toBe(303);
		expect(headerOf(response, "location")).toBe("/report?page=2");
		expect(headerOf(response, "set-cookie")).toContain("Max-Age=90");
		const decision = (await ask({ headers: { cookie: cookieOf(response) } })) as ProxyDecision;
		expect(decision).toMatchObject({ kind: "proxy", grant: "shl_a" });
	});

	test("does not wake the box by itself, and works while it sleeps", async () => {
		const { local, directory } = setup({ status: "suspended", address: null, wakes: true });
		expect((await local({ target: `/?gangway_share=${signed()}` })).status).toBe(303);
		expect(directory.woken).toEqual([]);
	});

	test("is out once it is revoked, its cookie too", async () => {
		const headers = { cookie: cookieOf(await setup().local({ target: `/?gangway_share=${signed()}` })) };
		const { local } = setup({ shareLinks: new Map() });
		expect((await local({ headers })).status).toBe(401);
		expect((await local({ target: `/?gangway_share=${signed()}` })).status).toBe(401);
	});

	test.each<[string, string, Asked]>([
		["at another port", signed(), { authority: "8080-keya.tunnel.test" }],
		["at another tunnel", signed(), { authority: "3000-keyb.tunnel.test" }],
		["with another port written in", signed({ port: 8080 }), {}],
		["that has expired", signed({ expiresAtMs: now }), {}],
		["from before the token was rotated", signed({ generation: 0 }), {}],
		["that names no link", signed({ shareLinkId: null }), {}],
		["that names a link that is not there", signed({ shareLinkId: "shl_b" }), {}],
		[
			"that is a cookie's pass",
			passes.sign("cookie", { tunnelKey: "keya", generation: 1, port: 3000, shareLinkId: null, expiresAtMs }),
			{},
		],
		["that was tampered with", signed().replace(/^./, "X"), {}],
		["that is the token", "s3cret%2B/%3D", {}],
	])("%s is 401", async (_name, pass, info) => {
		const { local } = setup({}, { key: "keyb", devboxId: "dbx_b" });
		const response = await local({ ...info, target: `/?gangway_share=${pass}`, headers: html });
		expect(response.status).toBe(401);
		expect(response.body).toContain("share link");
		expect(headerOf(response, "set-cookie")).toBeUndefined();
	});
});

describe("a redirect of ours leads to no other host", () => {
	const hostile = [
		"//evil.example",
		"///evil.example",
		"/\\evil.example",
		"\\\\evil.example",
		"/\t/evil.example",
		"/\n/evil.example",
		"/\r\nset-cookie: a=b",
		"https://evil.example",
		"javascript:alert(1)",
		"evil.example",
		"@evil.example",
		".evil.example",
		":80",
		"",
		" /",
		"/ü",
		`/${"a".repeat(2048)}`,
	];

	test.each(hostile)("after the form, for %j", async (path) => {
		const response = await setup().post({ token: "s3cret+/=", return: path });
		expect(headerOf(response, "location")).toBe("/");
	});

	test("after the token in the URL", async () => {
		const response = await setup().local({ target: "//evil.example/?gangway_token=s3cret%2B/%3D" });
		expect(headerOf(response, "location")).toBe("/");
	});

	test("whatever the path", () => {
		const part = fc.constantFrom(
			"/",
			"\\",
			"\t",
			"\n",
			"\r",
			" ",
			"evil.example",
			"@",
			":",
			"?",
			"#",
			"%2f",
			".",
			"..",
			"https:",
		);
		fc.assert(
			fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
				const here = "https://3000-keya.tunnel.test";
				expect(new URL(safeReturn(parts.join("")), here).origin).toBe(here);
			}),
			{ numRuns: 2_000 },
		);
	});
});
