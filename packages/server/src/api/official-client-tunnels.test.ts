/** The official client on the real devboxes: what it makes of tunnels and share links. */
import { ConflictError, NotFoundError, RunloopSDK } from "@runloop/api-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestDevboxes, passes } from "../devboxes/devboxes.fixture.js";
import type { Devboxes } from "../devboxes/index.js";
import { FakeRuntime } from "../devboxes/runtime.fixture.js";
import { openTestStore } from "../store/store.fixture.js";
import { fakeApi, serveHttp2, testTunnelUrl, validKey } from "./fakes.fixture.js";

let devboxes: Devboxes;
let stop: () => Promise<void>;
let sdk: RunloopSDK;

beforeEach(async () => {
	const store = await openTestStore();
	await store.db.insertInto("teams").values({ id: "team_1", name: "the fake accounts'", created_at_ms: 0 }).execute();
	devboxes = await openTestDevboxes({ store, runtime: new FakeRuntime() });
	const server = await serveHttp2((await fakeApi({ devboxes })).api);
	stop = server.stop;
	sdk = new RunloopSDK({ baseURL: server.url, bearerToken: validKey });
});
afterEach(async () => {
	await stop();
	await devboxes.close();
});

test("null and left-out parameters are an open tunnel, at creation and when it is enabled again", async () => {
	const devbox = await sdk.devbox.create({ tunnel: { auth_mode: null, http_keep_alive: null, wake_on_http: null } });
	const tunnel = await devbox.getTunnel();
	expect(tunnel).toMatchObject({ auth_mode: "open", http_keep_alive: true, wake_on_http: false });
	expect(tunnel).not.toHaveProperty("auth_token");
	expect(await devbox.net.enableTunnel()).toEqual(tunnel);
	expect(await devbox.net.enableTunnel({ auth_mode: null, http_keep_alive: null, wake_on_http: null })).toEqual(tunnel);
	expect(tunnel).toHaveProperty("url", testTunnelUrl(tunnel!.tunnel_key, "{port}"));
});

test("other parameters change the tunnel: its key stays, its token does not", async () => {
	const devbox = await sdk.devbox.create();
	const open = await devbox.net.enableTunnel();
	const first = await devbox.net.enableTunnel({ auth_mode: "authenticated" });
	expect(first.auth_token).toMatch(/^gwt_/);
	expect(await devbox.net.enableTunnel({ auth_mode: "authenticated" })).toEqual(first);
	const second = await devbox.net.enableTunnel({ auth_mode: "authenticated", wake_on_http: true });
	expect(second.auth_token).toMatch(/^gwt_/);
	expect(second.auth_token).not.toBe(first.auth_token);
	expect(await devbox.net.enableTunnel()).toEqual(open);
	expect([first.tunnel_key, second.tunnel_key]).toEqual([open.tunnel_key, open.tunnel_key]);
});

test("remove_tunnel ends it for good: the next one has another key", async () => {
	const devbox = await sdk.devbox.create({ tunnel: {} });
	const first = await devbox.getTunnel();
	await devbox.net.removeTunnel();
	await devbox.net.removeTunnel();
	expect(await devbox.getTunnel()).toBeNull();
	expect((await devbox.net.enableTunnel()).tunnel_key).not.toBe(first!.tunnel_key);
});

test("many enables at once are answered alike", async () => {
	const devbox = await sdk.devbox.create();
	const enabled = Array.from({ length: 10 }, () => devbox.net.enableTunnel({ auth_mode: "authenticated" }));
	const [first, ...others] = await Promise.all(enabled);
	for (const other of others) expect(other).toEqual(first);
});

interface WireShareLink {
	id: string;
	url: string;
	port: number;
	expires_at_ms: number;
}

test("share links, for which the client has no method, by its own means", async () => {
	const { id } = await sdk.devbox.create({ tunnel: { auth_mode: "authenticated" } });
	const path = `/v1/devboxes/${id}/tunnel/share_links`;
	const body = { port: 3000, path: "/a?b=c", expires_in_seconds: 60 };
	const link = await sdk.api.post<object, WireShareLink>(path, { body });
	const { tunnel_key } = (await sdk.api.devboxes.retrieve(id)).tunnel!;
	const url = new URL(link.url);
	expect(url.origin).toBe(testTunnelUrl(tunnel_key, 3000));
	expect([url.pathname, url.searchParams.get("b")]).toEqual(["/a", "c"]);
	expect(passes.verify("link", url.searchParams.get("gangway_share")!)).toEqual({
		tunnelKey: tunnel_key,
		generation: 1,
		port: 3000,
		shareLinkId: link.id,
		expiresAtMs: link.expires_at_ms,
	});
	const { url: _, ...shown } = link;
	expect(await sdk.api.get(path)).toEqual({ share_links: [shown] });
	expect(await sdk.api.delete(`${path}/${link.id}`)).toEqual({});
	await expect(sdk.api.delete(`${path}/${link.id}`)).rejects.toThrow(NotFoundError);
	await sdk.devbox.fromId(id).net.enableTunnel();
	await expect(sdk.api.post(path, { body })).rejects.toThrow(ConflictError);
});
