import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestStore } from "../store/store.fixture.js";
import { actor, openTestDevboxes, reachStatus, runningBox, suspendedBox } from "./devboxes.fixture.js";
import type { Devboxes } from "./devboxes.js";
import { Directory } from "./directory.js";
import { FakeRuntime } from "./runtime.fixture.js";
import { defaultTunnelParams } from "./tunnels.js";

const open = defaultTunnelParams;
const authenticated = { ...defaultTunnelParams, authMode: "authenticated" } as const;

let store: Awaited<ReturnType<typeof openTestStore>>;
let runtime: FakeRuntime;
let devboxes: Devboxes;

beforeEach(async () => {
	store = await openTestStore();
	runtime = new FakeRuntime();
	devboxes = await openTestDevboxes({ store, runtime });
});
afterEach(() => devboxes.close());

test("a tunnel: one per box, the same again for the same parameters, a new token for others", async () => {
	const { id } = await runningBox(devboxes);
	const directory = new Directory(devboxes);
	const first = await devboxes.enableTunnel(actor, id, open);
	expect(first.key).toMatch(/^[a-z2-7]{26}$/);
	expect(await devboxes.enableTunnel(actor, id, open)).toEqual(first);
	expect(await directory.lookup(first.key)).toMatchObject({ devboxId: id, authMode: "open", address: "10.0.0.2" });
	const revoked: string[] = [];
	devboxes.onTunnelRevoked((devboxId) => revoked.push(devboxId));
	const second = await devboxes.enableTunnel(actor, id, authenticated);
	expect(second.key).toBe(first.key);
	expect(second.token).toMatch(/^gwt_/);
	expect(await directory.lookup(first.key)).toMatchObject({ authMode: "authenticated", token: second.token });
	await devboxes.removeTunnel(actor, id);
	expect(revoked).toEqual([id, id]);
	expect(await directory.lookup(first.key)).toBeUndefined();
});

test("a look-up that a revocation overtakes does not see the old token", async () => {
	const { id, tunnel } = await runningBox(devboxes, { tunnel: authenticated });
	const directory = new Directory(devboxes);
	const { repository } = devboxes;
	const find = repository.findByTunnelKey.bind(repository);
	let overtaken = false;
	repository.findByTunnelKey = async (key) => {
		const found = await find(key);
		if (!overtaken) {
			overtaken = true;
			await devboxes.enableTunnel(actor, id, { ...authenticated, httpKeepAlive: false });
		}
		return found;
	};
	const target = await directory.lookup(tunnel!.key);
	expect(target?.token).toMatch(/^gwt_/);
	expect(target?.token).not.toBe(tunnel!.token);
});

test("a tunnel survives a suspend and ends with the box", async () => {
	const box = await suspendedBox(devboxes, { tunnel: { ...open, wakeOnHttp: true } });
	const directory = new Directory(devboxes);
	const key = box.tunnel!.key;
	expect(await directory.lookup(key)).toMatchObject({ status: "suspended", address: null, wakes: true });
	await devboxes.shutdown(actor, box.id);
	expect(await directory.lookup(key)).toBeUndefined();
});

test("resume_triggers.http wins over the tunnel's wake_on_http", async () => {
	const box = await suspendedBox(devboxes, {
		tunnel: { ...open, wakeOnHttp: true },
		launchParameters: { resumeTriggers: { http: false } },
	});
	expect(await new Directory(devboxes).lookup(box.tunnel!.key)).toMatchObject({ wakes: false });
});

test("two enables at once on a box without a tunnel: one tunnel, the same for both", async () => {
	const { id } = await runningBox(devboxes);
	const tunnels = await Promise.all(Array.from({ length: 20 }, () => devboxes.enableTunnel(actor, id, authenticated)));
	expect(new Set(tunnels.map(({ key, token }) => `${key} ${token}`)).size).toBe(1);
	expect((await devboxes.get(actor, id)).tunnel).toEqual(tunnels[0]);
});

test("two enables at once that do not agree: both are done, one after the other", async () => {
	const { id } = await runningBox(devboxes);
	const [first, second] = await Promise.all([
		devboxes.enableTunnel(actor, id, open),
		devboxes.enableTunnel(actor, id, authenticated),
	]);
	expect(second.key).toBe(first.key);
	expect([first.generation, second.generation].sort()).toEqual([1, 2]);
	const last = first.generation === 2 ? first : second;
	expect((await devboxes.get(actor, id)).tunnel).toEqual(last);
});

test("enables and removes at once: each enable gets a tunnel, and the last word stands", async () => {
	const { id } = await runningBox(devboxes);
	const enabled = [];
	const removed = [];
	for (let n = 0; n < 20; n++) {
		enabled.push(devboxes.enableTunnel(actor, id, n % 3 === 0 ? open : authenticated));
		removed.push(devboxes.removeTunnel(actor, id));
	}
	for (const { key } of await Promise.all(enabled)) expect(key).toMatch(/^[a-z2-7]{26}$/);
	await Promise.all(removed);
	await devboxes.removeTunnel(actor, id);
	expect((await devboxes.get(actor, id)).tunnel).toBeNull();
});

test("an enable that a shutdown overtakes leaves no tunnel", async () => {
	const { id } = await runningBox(devboxes);
	const enabling = devboxes.enableTunnel(actor, id, open).catch((error: unknown) => error);
	await devboxes.shutdown(actor, id);
	await enabling;
	await expect(devboxes.enableTunnel(actor, id, open)).rejects.toMatchObject({ status: 409 });
	await expect.poll(() => store.db.selectFrom("tunnels").selectAll().execute()).toEqual([]);
});

test("every parameter survives a restart of the daemon, and the directory tells it", async () => {
	const params = {
		authMode: "authenticated",
		httpKeepAlive: false,
		wakeOnHttp: true,
		wakeMode: "hold",
		corsOrigins: ["https://app.example"],
		loopbackPorts: [3000, 5173],
		portRules: { "5173": { hostHeader: "localhost" } },
	} as const;
	const { id, tunnel } = await runningBox(devboxes, { tunnel: params });
	await devboxes.close();
	devboxes = await openTestDevboxes({ store, runtime });
	await reachStatus(devboxes, id, "running");
	expect((await devboxes.get(actor, id)).tunnel).toEqual(tunnel);
	expect(await devboxes.enableTunnel(actor, id, params)).toEqual(tunnel);
	expect(await new Directory(devboxes).lookup(tunnel!.key)).toMatchObject({
		token: tunnel!.token,
		generation: 1,
		httpKeepAlive: false,
		wakes: true,
		wakeMode: "hold",
		corsOrigins: ["https://app.example"],
		loopbackPorts: [3000, 5173],
		portRules: new Map([[5173, { hostHeader: "localhost" }]]),
		shareLinks: new Map(),
	});
});

test("wrong parameters are refused, and named as the call names them", async () => {
	const wrong = { ...open, loopbackPorts: [22] };
	await expect(devboxes.create(actor, { tunnel: wrong })).rejects.toMatchObject({ field: "tunnel.loopback_ports[0]" });
	const { id } = await runningBox(devboxes);
	await expect(devboxes.enableTunnel(actor, id, wrong)).rejects.toMatchObject({ field: "loopback_ports[0]" });
});
