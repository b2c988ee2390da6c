/** The rest of the server, in memory. */
import { EventEmitter, once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Kysely } from "kysely";
import { pino } from "pino";
import { Registry } from "prom-client";
import type { Principal, UserSshKey } from "../accounts/index.js";
import { expiresAt } from "../devboxes/deadlines.js";
import {
	type Actor,
	type CreateParams,
	type Devbox,
	defaultTunnelParams,
	type LogEntry,
	type NewShareLink,
	type ShareLink,
	type ShareLinkParams,
	type Tunnel,
	type TunnelParams,
} from "../devboxes/index.js";
import { canFollow, isEnded, type Status } from "../devboxes/lifecycle.js";
import { ConflictError, InvalidError, NotFoundError } from "../errors.js";
import type { Schema } from "../store/index.js";
import { type Api, type ApiOptions, createApi } from "./app.js";
import type {
	Accounts,
	AdministrationService,
	Claim,
	CreateOptions,
	DevboxService,
	IdempotencyKey,
	IdempotencyStore,
	SshKeyService,
} from "./services.js";

export const validKey = "gw_test_key";
export const otherKey = "gw_other_key";
export const viewerKey = "gw_viewer_key";
const actor: Principal = { role: "member", apiKeyId: "key_1", userId: "usr_1", teamId: "team_1" };

export class FakeAccounts implements Accounts {
	async authenticate(header: string | undefined): Promise<Principal | undefined> {
		return new Map([
			[`Bearer ${validKey}`, actor],
			[`Bearer ${otherKey}`, { ...actor, apiKeyId: "key_2" }],
			[`Bearer ${viewerKey}`, { ...actor, apiKeyId: "key_3", role: "viewer" as const }],
		]).get(header ?? "");
	}

	readonly sshKeys = new FakeSshKeys();

	/** Tests of the admin API use the real accounts. */
	get administration(): AdministrationService {
		return {} as AdministrationService;
	}
}

/** Takes any text for a key. */
export class FakeSshKeys implements SshKeyService {
	readonly keys: (UserSshKey & { readonly userId: string })[] = [];

	async create({ userId }: Actor, { name, publicKey }: { name: string; publicKey: string }): Promise<UserSshKey> {
		if (!publicKey.startsWith("ssh-")) throw new InvalidError("public_key", "begins with no type of key that is known");
		if (this.keys.some((key) => key.publicKey === publicKey))
			throw new ConflictError("this SSH key is uploaded already");
		const [keyType = "", , comment = ""] = publicKey.split(" ");
		const times = { createdAtMs: 1_700_000_000_000, updatedAtMs: 1_700_000_000_000 };
		const id = `sshk_${this.keys.length}`;
		const key = { id, userId, name, publicKey, keyType, comment, fingerprint: `SHA256:${id}`, ...times };
		this.keys.push(key);
		return key;
	}

	async list(userId: string): Promise<UserSshKey[]> {
		return this.keys.filter((key) => key.userId === userId);
	}

	async delete({ userId }: Actor, id: string): Promise<void> {
		const at = this.keys.findIndex((key) => key.userId === userId && key.id === id);
		if (at < 0) throw new NotFoundError("SSH key");
		this.keys.splice(at, 1);
	}
}

type Change = Partial<{ -readonly [K in keyof Devbox]: Devbox[K] }>;

export class FakeDevboxes implements DevboxService {
	readonly boxes: Devbox[] = [];
	readonly created: CreateParams[] = [];
	readonly calls: string[] = [];
	readonly events = new EventEmitter().setMaxListeners(0);
	/** Thrown by the next call of any kind. */
	failNext: Error | undefined;
	/** Awaited by every create before it makes anything. */
	gate: Promise<void> = Promise.resolve();
	/** Awaited by every create after its transaction. */
	afterCommit: () => Promise<void> = async () => {};
	/** Where a new devbox, or one that is resumed, goes by itself. */
	bootsTo: Status | undefined = "running";
	logEntries: LogEntry[] = [];
	rotations = 0;

	async create(_actor: Actor, params: CreateParams, options: CreateOptions = {}): Promise<Devbox> {
		this.#call("create");
		await this.gate;
		const id = `dbx_${String(this.boxes.length).padStart(26, "0")}`;
		await options.inTransaction?.({} as Kysely<Schema>, id);
		this.created.push(params);
		const devbox = newDevbox(id, params);
		this.boxes.push(devbox);
		await this.afterCommit();
		if (this.bootsTo) setImmediate(() => this.boot(id, this.bootsTo as Status));
		return devbox;
	}

	async get(_actor: Actor, id: string): Promise<Devbox> {
		this.#call("get");
		return this.#find(id);
	}

	async list(
		_actor: Actor,
		q: { limit: number; startingAfter?: string; offset?: number; statuses?: readonly Status[] },
	) {
		this.#call("list");
		const newest = this.boxes.filter(({ status }) => q.statuses?.includes(status) ?? true).reverse();
		const start = q.startingAfter ? newest.findIndex(({ id }) => id === q.startingAfter) + 1 : (q.offset ?? 0);
		return { devboxes: newest.slice(start, start + q.limit), hasMore: newest.length > start + q.limit };
	}

	async count(_actor: Actor, q: { statuses?: readonly Status[] }): Promise<number> {
		return this.boxes.filter(({ status }) => q.statuses?.includes(status) ?? true).length;
	}

	async update(_actor: Actor, id: string, change: { name?: string; metadata?: Record<string, string> }) {
		this.#call("update");
		const { name, metadata } = change;
		return this.change(id, { ...(name !== undefined && { name: name || null }), ...(metadata && { metadata }) });
	}

	async suspend(_actor: Actor, id: string): Promise<Devbox> {
		this.#call("suspend");
		const devbox = this.#move(id, "suspending");
		setImmediate(() => this.#move(id, "suspended"));
		return devbox;
	}

	async resume(_actor: Actor, id: string): Promise<Devbox> {
		this.#call("resume");
		const devbox = this.#move(id, "resuming");
		this.change(id, { generation: devbox.generation + 1 });
		setImmediate(() => this.#move(id, "running"));
		return devbox;
	}

	async shutdown(_actor: Actor, id: string, { force }: { force: boolean }): Promise<Devbox> {
		this.#call(`shutdown force=${force}`);
		this.#move(id, "shutdown");
		return this.change(id, { endedAtMs: Date.now(), shutdownReason: "api_shutdown", tunnel: null });
	}

	async keepAlive(_actor: Actor, id: string): Promise<void> {
		this.#call("keepAlive");
		this.#find(id);
	}

	async waitForStatus(_actor: Actor, id: string, statuses: Status[], timeoutMs: number, signal: AbortSignal) {
		this.#call("waitForStatus");
		const over = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
		for (;;) {
			const devbox = this.#find(id);
			if (statuses.includes(devbox.status)) return devbox;
			const changed = await once(this.events, id, { signal: over }).catch(() => undefined);
			if (!changed) {
				this.events.emit("wait over", id);
				return this.#find(id);
			}
		}
	}

	async sshKey(_actor: Actor, id: string) {
		this.#call("sshKey");
		const { sshUser } = this.#find(id);
		const hostname = `${id.replace("_", "-")}.ssh.gangway.localhost`;
		const privateKeyPem = `-----BEGIN EC PRIVATE KEY-----\n${id} ${this.rotations}\n`;
		return { privateKeyPem, sshUser, hostname };
	}

	async rotateSshKey(actor: Actor, id: string) {
		this.#call("rotateSshKey");
		this.rotations++;
		return this.sshKey(actor, id);
	}

	async refresh(_actor: Actor, id: string, seconds?: number): Promise<Devbox> {
		this.#call("refresh");
		const ttl = seconds ?? this.#find(id).launchParameters.ttlSeconds;
		return this.change(id, { expiresAtMs: expiresAt(ttl, Date.now()) });
	}

	async enableTunnel(_actor: Actor, id: string, params: TunnelParams) {
		this.#call("enableTunnel");
		if (this.#find(id).status !== "running") throw new ConflictError(`devbox ${id} is not running`);
		const tunnel = newTunnel(params);
		this.change(id, { tunnel });
		return tunnel;
	}

	async removeTunnel(_actor: Actor, id: string): Promise<void> {
		this.#call("removeTunnel");
		this.change(id, { tunnel: null });
	}

	async createShareLink(_actor: Actor, id: string, params: ShareLinkParams): Promise<NewShareLink> {
		this.#call("createShareLink");
		const { tunnel } = this.#find(id);
		if (tunnel?.authMode !== "authenticated") throw new ConflictError("the tunnel is open");
		const { port, path, expiresInSeconds } = params;
		const createdAtMs = 1_700_000_000_000;
		const number = String(tunnel.shareLinks.length).padStart(26, "0");
		const link = { id: `shl_${number}`, port, path, createdAtMs, expiresAtMs: createdAtMs + expiresInSeconds * 1000 };
		this.change(id, { tunnel: { ...tunnel, shareLinks: [...tunnel.shareLinks, link] } });
		return { ...link, tunnelKey: tunnel.key, token: "link-token" };
	}

	async shareLinks(_actor: Actor, id: string): Promise<readonly ShareLink[]> {
		this.#call("shareLinks");
		return this.#find(id).tunnel?.shareLinks ?? [];
	}

	async deleteShareLink(_actor: Actor, id: string, shareLinkId: string): Promise<void> {
		this.#call("deleteShareLink");
		const { tunnel } = this.#find(id);
		const rest = tunnel?.shareLinks.filter((link) => link.id !== shareLinkId) ?? [];
		if (!tunnel || rest.length === tunnel.shareLinks.length) throw new NotFoundError(`share link ${shareLinkId}`);
		this.change(id, { tunnel: { ...tunnel, shareLinks: rest } });
	}

	async logs(_actor: Actor, id: string): Promise<LogEntry[]> {
		this.#call("logs");
		this.#find(id);
		return this.logEntries;
	}

	boot(id: string, to: Status): void {
		if (isEnded(this.#find(id).status)) return;
		this.#move(id, "initializing");
		this.#move(id, to);
	}

	change(id: string, change: Change): Devbox {
		const devbox = { ...this.#find(id), ...change };
		this.boxes[this.boxes.findIndex((box) => box.id === id)] = devbox;
		this.events.emit(id);
		return devbox;
	}

	#call(name: string): void {
		this.calls.push(name);
		const error = this.failNext;
		this.failNext = undefined;
		if (error) throw error;
	}

	#move(id: string, status: Status): Devbox {
		const devbox = this.#find(id);
		if (!canFollow(devbox.status, status)) {
			throw new ConflictError(`devbox ${id} is ${devbox.status}, which ${status} cannot follow`);
		}
		const transitions = [...devbox.transitions, { status, atMs: Date.now(), failureReason: null }];
		return this.change(id, { status, transitions });
	}

	#find(id: string): Devbox {
		const devbox = this.boxes.find((box) => box.id === id);
		if (!devbox) throw new NotFoundError(`devbox ${id}`);
		return devbox;
	}
}

/** A promise that the test resolves. */
export function gate(): { promise: Promise<void>; open: () => void } {
	let open = () => {};
	const promise = new Promise<void>((resolve) => {
		open = resolve;
	});
	return { promise, open };
}

function newDevbox(id: string, params: CreateParams): Devbox {
	const now = Date.now();
	return {
		id,
		teamId: actor.teamId,
		createdBy: actor.userId,
		name: params.name ?? null,
		status: "provisioning",
		runtime: "linux",
		launchParameters: params.launchParameters ?? {},
		metadata: params.metadata ?? {},
		sshUser: params.launchParameters?.user?.username ?? "user",
		transitions: [{ status: "provisioning", atMs: now, failureReason: null }],
		failureReason: null,
		shutdownReason: null,
		createdAtMs: now,
		endedAtMs: null,
		expiresAtMs: expiresAt(params.launchParameters?.ttlSeconds, now),
		hardExpiresAtMs: expiresAt(params.launchParameters?.hardTtlSeconds, now),
		generation: 1,
		tunnel: params.tunnel ? newTunnel(params.tunnel) : null,
	};
}

export function newTunnel(params: Partial<TunnelParams>): Tunnel {
	const token = params.authMode === "authenticated" ? "tunnel-token" : null;
	const key = "abcdefghijklmnopqrstuvwxyz";
	return {
		...defaultTunnelParams,
		...params,
		key,
		token,
		generation: 1,
		createdAtMs: 1_700_000_000_000,
		shareLinks: [],
	};
}

/** As `tunnelUrl` of the edge makes them. */
export const testTunnelUrl = (tunnelKey: string, port: number | "{port}") =>
	`https://${port}-${tunnelKey}.tunnel.gangway.localhost:7443`;

type Entry = { route: string; devboxId: string | null; answer?: { status: number; body: string } };

export class FakeIdempotencyStore implements IdempotencyStore {
	readonly entries = new Map<string, Entry>();

	async claim(key: IdempotencyKey, route: string): Promise<Claim> {
		const entry = this.entries.get(nameOf(key));
		if (!entry) {
			this.entries.set(nameOf(key), { route, devboxId: null });
			return { state: "new" };
		}
		if (entry.answer) return { state: "finished", route: entry.route, answer: entry.answer };
		return { state: "unfinished", route: entry.route, devboxId: entry.devboxId };
	}

	async attach(_trx: Kysely<Schema>, key: IdempotencyKey, devboxId: string): Promise<void> {
		this.#entry(key).devboxId = devboxId;
	}

	async finish(key: IdempotencyKey, answer: { status: number; body: string }): Promise<void> {
		this.#entry(key).answer = answer;
	}

	async release(key: IdempotencyKey): Promise<void> {
		if (this.entries.get(nameOf(key))?.devboxId === null) this.entries.delete(nameOf(key));
	}

	#entry(key: IdempotencyKey): Entry {
		const entry = this.entries.get(nameOf(key));
		if (!entry) throw new Error(`no entry ${nameOf(key)}`);
		return entry;
	}
}

function nameOf({ apiKeyId, key }: IdempotencyKey): string {
	return `${apiKeyId} ${key}`;
}

/** An API over fakes. */
export async function fakeApi(options: Partial<ApiOptions> = {}) {
	const devboxes = new FakeDevboxes();
	const idempotency = new FakeIdempotencyStore();
	const logLines: string[] = [];
	const log = pino({ level: "trace" }, { write: (line: string) => void logLines.push(line) });
	const api = await createApi({
		devboxes,
		idempotency,
		audit: { record: () => {}, list: async () => ({ events: [], hasMore: false }) },
		accounts: new FakeAccounts(),
		metrics: new Registry(),
		ready: () => true,
		tunnelUrl: testTunnelUrl,
		ssh: {
			connect: () => "127.0.0.1:7443",
			gateway: () => ({ host: "127.0.0.1", port: 7022 }),
			gatewayHostKeys: ["ssh-ed25519 AAAA"],
			hostCa: "ecdsa-sha2-nistp256 AAAA",
		},
		version: "0.0.0-test",
		log,
		...options,
	});
	const auth = { authorization: `Bearer ${validKey}` };
	const post = (url: string, body?: object, headers: Record<string, string> = {}) =>
		api.app.inject({ method: "POST", url, headers: { ...auth, ...headers }, ...(body && { payload: body }) });
	const get = (url: string, headers: Record<string, string> = {}) =>
		api.app.inject({ method: "GET", url, headers: { ...auth, ...headers } });
	const del = (url: string, headers: Record<string, string> = {}) =>
		api.app.inject({ method: "DELETE", url, headers: { ...auth, ...headers } });
	return { api, devboxes, idempotency, logLines, post, get, del };
}

/** Serves an API as the official client speaks to it by default: prior-knowledge HTTP/2. */
export async function serveHttp2(api: Api) {
	const server = createServer(api.handler);
	const sessions = new Set<ServerHttp2Session>();
	server.on("session", (session) => sessions.add(session));
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	return {
		url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
		onRequest: (listener: () => void) => void server.on("stream", listener),
		/** The API too. */
		stop: async () => {
			await api.close();
			for (const session of sessions) session.destroy();
			server.close();
		},
	};
}
