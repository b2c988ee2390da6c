/** The rest of the server, in memory. */
import { EventEmitter, once } from "node:events";
import type { Kysely } from "kysely";
import { pino } from "pino";
import { Registry } from "prom-client";
import type { Principal } from "../accounts/index.js";
import type { Actor, CreateParams, Devbox, LogEntry, Tunnel } from "../devboxes/index.js";
import { canFollow, isEnded, type Status } from "../devboxes/lifecycle.js";
import { ConflictError, NotFoundError } from "../errors.js";
import type { Schema } from "../store/index.js";
import { type ApiOptions, createApi } from "./app.js";
import type { Accounts, Claim, CreateOptions, DevboxService, IdempotencyKey, IdempotencyStore } from "./services.js";

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

	async list(_actor: Actor, q: { limit: number; startingAfter?: string; status?: Status }) {
		this.#call("list");
		const newest = this.boxes.filter(({ status }) => !q.status || status === q.status).reverse();
		const start = q.startingAfter ? newest.findIndex(({ id }) => id === q.startingAfter) + 1 : 0;
		return { devboxes: newest.slice(start, start + q.limit), hasMore: newest.length > start + q.limit };
	}

	async count(_actor: Actor, q: { status?: Status }): Promise<number> {
		return this.boxes.filter(({ status }) => !q.status || status === q.status).length;
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
		return { privateKeyPem: `-----BEGIN EC PRIVATE KEY-----\n${id}\n`, sshUser, hostname };
	}

	async enableTunnel(_actor: Actor, id: string, params: Pick<Tunnel, "authMode" | "httpKeepAlive" | "wakeOnHttp">) {
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
		tunnel: params.tunnel ? newTunnel(params.tunnel) : null,
	};
}

function newTunnel(params: Pick<Tunnel, "authMode" | "httpKeepAlive" | "wakeOnHttp">): Tunnel {
	const token = params.authMode === "authenticated" ? "tunnel-token" : null;
	return { ...params, key: "abcdefghijklmnopqrstuvwxyz", token, createdAtMs: 1_700_000_000_000 };
}

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
		accounts: new FakeAccounts(),
		metrics: new Registry(),
		ready: () => true,
		ssh: { connect: () => "127.0.0.1:7443", hostCa: "ecdsa-sha2-nistp256 AAAA" },
		version: "0.0.0-test",
		log,
		...options,
	});
	const auth = { authorization: `Bearer ${validKey}` };
	const post = (url: string, body?: object, headers: Record<string, string> = {}) =>
		api.app.inject({ method: "POST", url, headers: { ...auth, ...headers }, ...(body && { payload: body }) });
	const get = (url: string, headers: Record<string, string> = {}) =>
		api.app.inject({ method: "GET", url, headers: { ...auth, ...headers } });
	return { api, devboxes, idempotency, logLines, post, get };
}
