import type { Transaction } from "kysely";
import type { Logger } from "pino";
import type { AuditSink } from "../audit/index.js";
import { ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError } from "../errors.js";
import type { Runtime } from "../runtime/runtime.js";
import type { Schema, Seal, SecretStorage, Store } from "../store/index.js";
import { nextChange } from "./changes.js";
import { Deadlines, expiresAt } from "./deadlines.js";
import type {
	Actor,
	CreateParams,
	Devbox,
	LaunchParameters,
	LogEntry,
	NewShareLink,
	ShareLink,
	ShareLinkParams,
	SshAccess,
	SshKey,
	Tunnel,
	TunnelParams,
} from "./devbox.js";
import { type Expiry, IdleClocks, type LifetimeSettings, runLimits } from "./idle.js";
import { labelOf, newDevboxId } from "./ids.js";
import { KeyRotation } from "./key-rotation.js";
import { generateEcdsaKeyPair, type KeyPair, publicKeyOf } from "./keys.js";
import { isEnded, isStarting, type ShutdownReason, type Status } from "./lifecycle.js";
import { DevboxLogs } from "./logs.js";
import { checkCreateParams, defaultUser } from "./params.js";
import type { Passes } from "./passes.js";
import { reconcile } from "./reconciler.js";
import { DevboxRepository } from "./repository.js";
import { ShareLinks } from "./share-links.js";
import { Supervisor } from "./supervisor.js";
import { changedTunnel, checkedTunnelParams, newTunnel } from "./tunnels.js";

export interface DevboxesOptions extends LifetimeSettings {
	readonly store: Store;
	readonly seal: Seal;
	readonly secrets: SecretStorage;
	/** Sign share links; the tunnel verifies them with the same. */
	readonly passes: Passes;
	readonly runtime: Runtime;
	/** Told who gets, and who changes, what lets people in. */
	readonly audit: AuditSink;
	readonly log: Logger;
	readonly dataDir: string;
	/** `ssh.<domain>`: boxes are named below it. */
	readonly sshDomain: string;
}

export interface ListQuery {
	readonly limit: number;
	readonly startingAfter?: string;
	/** So many are left out first. */
	readonly offset?: number;
	/** Only those that have one of them. */
	readonly statuses?: readonly Status[];
}

/** Logs of ended devboxes are kept so long. */
const logsKeptMs = 7 * 24 * 3600 * 1000;

/**
 * The devboxes of an installation: what can be done with them, whoever asks in whatever dialect. Every method checks that
 * the devbox belongs to the actor's team; one of another team does not exist for it.
 */
export class Devboxes {
	readonly #options: DevboxesOptions;
	readonly #repository: DevboxRepository;
	readonly #supervisor: Supervisor;
	readonly #logs: DevboxLogs;
	readonly #clocks: IdleClocks;
	readonly #shareLinks: ShareLinks;
	readonly #keyRotation: KeyRotation;
	readonly #deadlines: Deadlines;
	readonly #hostCa: KeyPair;
	#closed = false;

	/** Brings store and runtime together, so that every devbox is what it says it is. */
	static async open(options: DevboxesOptions): Promise<Devboxes> {
		const devboxes = new Devboxes(options, await loadHostCa(options.secrets));
		await reconcile({ ...options, repository: devboxes.#repository, supervisor: devboxes.#supervisor });
		await devboxes.#shareLinks.endExpired();
		await devboxes.#deadlines.look();
		void devboxes.#keyRotation.rotateExposed();
		await devboxes.#logs.sweep(Date.now() - logsKeptMs, async (id) => {
			const row = await devboxes.#repository.findRow(id);
			return row === undefined || isEnded(row.status as Status);
		});
		return devboxes;
	}

	private constructor(options: DevboxesOptions, hostCa: KeyPair) {
		const { store, seal, passes, runtime, audit, log, dataDir, sshDomain } = options;
		this.#options = options;
		this.#hostCa = hostCa;
		this.#logs = new DevboxLogs(dataDir, (devboxId, err) => {
			log.error({ err, devboxId }, "the log of a devbox could not be written");
		});
		this.#repository = new DevboxRepository(store, seal);
		this.#supervisor = new Supervisor({
			runtime,
			repository: this.#repository,
			logs: this.#logs,
			log,
			hostCa,
			sshDomain,
			nonceKey: seal.deriveKey("console nonce"),
		});
		this.#shareLinks = new ShareLinks({ repository: this.#repository, passes, audit, log });
		this.#keyRotation = new KeyRotation({ repository: this.#repository, supervisor: this.#supervisor, audit, log });
		this.#deadlines = new Deadlines({
			repository: this.#repository,
			suspend: (id) => this.#suspend(id),
			shutdown: (id) => this.#shutdown(id, "keep_alive_timeout"),
			log,
		});
		this.#clocks = new IdleClocks((id, expiry) => void this.#expired(id, expiry));
		this.#repository.on("changed", (id) => void this.#keepClock(id));
		this.#repository.on("transited", (devboxId, status) => log.info({ devboxId }, `devbox is ${status}`));
	}

	/** The devboxes in the store, and news of their changes. For the directories that the doors look boxes up in. */
	get repository(): DevboxRepository {
		return this.#repository;
	}

	/** OpenSSH public key of the CA that signs every box's host key. */
	get hostCaPublicKey(): string {
		return this.#hostCa.publicKey;
	}

	/** IPv4 address of a box that runs. */
	address(devboxId: string): string | undefined {
		return this.#supervisor.address(devboxId);
	}

	/** Something happened that resets the idle clock. Cheap. */
	activity(devboxId: string): void {
		this.#clocks.activity(devboxId);
	}

	/** Makes a devbox and starts it; returns as soon as it is stored. Throws `InvalidError`. */
	async create(
		actor: Actor,
		params: CreateParams,
		options: { readonly inTransaction?: (trx: Transaction<Schema>, devboxId: string) => Promise<void> } = {},
	): Promise<Devbox> {
		checkCreateParams(params);
		const launch = params.launchParameters ?? {};
		this.#checkLifetime(launch);
		const tunnel = params.tunnel && checkedTunnelParams(params.tunnel, "tunnel.");
		const id = newDevboxId();
		const [key, hostKey] = await Promise.all([generateEcdsaKeyPair(), generateEcdsaKeyPair()]);
		const box = await this.#repository.create(
			{
				id,
				teamId: actor.teamId,
				createdBy: actor.userId,
				name: params.name ?? null,
				runtime: this.#options.runtime.name,
				launchParameters: launch,
				metadata: params.metadata ?? {},
				boot: {
					...(params.entrypoint === undefined ? {} : { entrypoint: params.entrypoint }),
					environmentVariables: params.environmentVariables ?? {},
					files: params.files ?? {},
				},
				sshUser: (launch.user ?? defaultUser).username,
				key,
				hostKey,
				tunnel: tunnel ? newTunnel(tunnel) : null,
				atMs: Date.now(),
			},
			options.inTransaction && ((trx) => options.inTransaction!(trx, id)),
		);
		void this.#supervisor.start(id);
		this.#armDeadlines(box);
		if (box.tunnel) await this.#tunnelSet("tunnel.enabled", actor, id, box.tunnel);
		return box;
	}

	/** Throws `NotFoundError`, like every method that takes an id. */
	async get(actor: Actor, id: string): Promise<Devbox> {
		const box = await this.#repository.find(id, actor.teamId);
		if (!box) throw new NotFoundError(`devbox ${id}`);
		return box;
	}

	/** Newest first. */
	async list(actor: Actor, query: ListQuery): Promise<{ devboxes: Devbox[]; hasMore: boolean }> {
		const found = await this.#repository.list({ ...query, teamId: actor.teamId, limit: query.limit + 1 });
		return { devboxes: found.slice(0, query.limit), hasMore: found.length > query.limit };
	}

	count(actor: Actor, query: { readonly statuses?: readonly Status[] }): Promise<number> {
		return this.#repository.count({ ...query, teamId: actor.teamId });
	}

	/** What is left out stays. */
	async update(
		actor: Actor,
		id: string,
		change: { readonly name?: string; readonly metadata?: Readonly<Record<string, string>> },
	): Promise<Devbox> {
		await this.get(actor, id);
		const { name, metadata } = change;
		const columns = {
			...(name === undefined ? {} : { name: name === "" ? null : name }),
			...(metadata === undefined ? {} : { metadata: JSON.stringify(metadata) }),
		};
		if (Object.keys(columns).length > 0) await this.#repository.update(id, columns);
		return this.get(actor, id);
	}

	/** Stops compute and keeps the disk. Suspending a box that is suspended already is fine. Throws `ConflictError`. */
	async suspend(actor: Actor, id: string): Promise<Devbox> {
		const box = await this.get(actor, id);
		if (box.status === "suspended" || box.status === "suspending") return box;
		if (!(await this.#suspend(id))) throw wrongState(await this.get(actor, id), "suspended", "running");
		return this.get(actor, id);
	}

	/** Starts a suspended box again. Resuming a box that runs is fine. Throws `ConflictError`. */
	async resume(actor: Actor, id: string): Promise<Devbox> {
		const box = await this.get(actor, id);
		if (box.status === "running" || box.status === "resuming") return box;
		if (!(await this.#resume(id))) throw wrongState(await this.get(actor, id), "resumed", "suspended");
		return this.get(actor, id);
	}

	/** Ends it for good, with its disk, keys and tunnel. From any state, and again. */
	async shutdown(actor: Actor, id: string): Promise<Devbox> {
		await this.get(actor, id);
		await this.#shutdown(id, "api_shutdown");
		return this.get(actor, id);
	}

	/**
	 * Puts off the time at which it is suspended: to so many seconds from now, by default those it was created with. Throws
	 * `ConflictError` unless it runs or is about to.
	 */
	async refresh(actor: Actor, id: string, seconds?: number): Promise<Devbox> {
		const box = await this.get(actor, id);
		if (box.status !== "running" && !isStarting(box.status)) throw wrongState(box, "refreshed", "running");
		const ttlSeconds = seconds ?? box.launchParameters.ttlSeconds;
		await this.#repository.update(id, { expires_at_ms: expiresAt(ttlSeconds, Date.now()) });
		const refreshed = await this.get(actor, id);
		this.#armDeadlines(refreshed);
		return refreshed;
	}

	/** Resets the idle clock. Throws `ConflictError` unless it runs. */
	async keepAlive(actor: Actor, id: string): Promise<void> {
		const box = await this.get(actor, id);
		if (box.status !== "running") throw wrongState(box, "kept alive", "running");
		this.activity(id);
	}

	/** Resolves with the box as soon as it has one of the statuses, and as it is at the time-out or when `signal` aborts. */
	async waitForStatus(
		actor: Actor,
		id: string,
		statuses: readonly Status[],
		timeoutMs: number,
		signal: AbortSignal,
	): Promise<Devbox> {
		const end = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
		for (;;) {
			const changed = nextChange(this.#repository, id, end);
			const box = await this.get(actor, id);
			if (statuses.includes(box.status) || !canStillReach(box.status, statuses) || end.aborted) {
				changed.cancel();
				return box;
			}
			await changed.promise;
		}
	}

	/**
	 * The devbox's own pair, the same at every call until it is rotated. Who got it is noted. Throws `ConflictError` once the box
	 * has ended.
	 */
	async sshKey(actor: Actor, id: string): Promise<SshKey> {
		const box = await this.get(actor, id);
		if (isEnded(box.status)) throw wrongState(box, "reached by ssh", "alive");
		const row = await this.#repository.handOutKey(id, actor.userId);
		if (!row) throw new ForbiddenError("the user may not enter this devbox");
		if (isEnded(row.status as Status)) throw wrongState(await this.get(actor, id), "reached by ssh", "alive");
		await this.#options.audit.write({ action: "devbox_key.fetched", actor, devboxId: id });
		this.#options.log.info({ devboxId: id, apiKeyId: actor.apiKeyId, userId: actor.userId }, "SSH key handed out");
		return {
			privateKeyPem: this.#repository.key(row).privateKeyPem,
			sshUser: box.sshUser,
			hostname: `${labelOf(id)}.${this.#options.sshDomain}`,
		};
	}

	/**
	 * Gives the box another pair: the former key opens nothing any more, at once if it runs, else from its next start.
	 * Throws `ConflictError` once the box has ended, `UnavailableError` when it runs and could not be told yet.
	 */
	async rotateSshKey(actor: Actor, id: string): Promise<SshKey> {
		const box = await this.get(actor, id);
		if (!(await this.#keyRotation.rotate(id, actor))) throw wrongState(box, "given a new SSH key", "alive");
		return this.sshKey(actor, id);
	}

	/** Rotates the key of every box that somebody has had who may not enter it any more. Never rejects. */
	rotateExposedKeys(): Promise<void> {
		return this.#keyRotation.rotateExposed();
	}

	/**
	 * Gives the box a tunnel, or changes the one it has: key and URL stay, and where parameters differ the token is a new
	 * one and all share links end. Throws `ConflictError` unless it runs, `InvalidError`.
	 */
	async enableTunnel(actor: Actor, id: string, params: TunnelParams): Promise<Tunnel> {
		const wanted = checkedTunnelParams(params);
		await this.get(actor, id);
		const { before, after } = await this.#repository.setTunnel(id, (box) => {
			if (box.status !== "running") throw wrongState(box, "given a tunnel", "running");
			return box.tunnel ? changedTunnel(box.tunnel, wanted) : newTunnel(wanted);
		});
		if (after !== before) await this.#tunnelSet(before ? "tunnel.changed" : "tunnel.enabled", actor, id, after);
		return after;
	}

	/** Its share links go with it. A box without one is fine. */
	async removeTunnel(actor: Actor, id: string): Promise<void> {
		const { tunnel } = await this.get(actor, id);
		await this.#repository.removeTunnel(id);
		if (tunnel) await this.#options.audit.write({ action: "tunnel.removed", actor, devboxId: id });
	}

	/**
	 * A link that lets its holder in to one port of the box's authenticated tunnel, until it expires or is deleted, the
	 * tunnel changes or the box ends. Throws `ConflictError` without such a tunnel or with too many links, `InvalidError`.
	 */
	async createShareLink(actor: Actor, id: string, params: ShareLinkParams): Promise<NewShareLink> {
		await this.get(actor, id);
		return this.#shareLinks.create(actor, id, params);
	}

	/** Those that are good, oldest first. */
	async shareLinks(actor: Actor, id: string): Promise<readonly ShareLink[]> {
		return (await this.get(actor, id)).tunnel?.shareLinks ?? [];
	}

	/** Throws `NotFoundError`. */
	async deleteShareLink(actor: Actor, id: string, shareLinkId: string): Promise<void> {
		await this.get(actor, id);
		await this.#shareLinks.delete(actor, id, shareLinkId);
	}

	/** Oldest first; the last few MiB. */
	async logs(actor: Actor, id: string): Promise<LogEntry[]> {
		await this.get(actor, id);
		await this.#supervisor.settled(id);
		return this.#logs.read(id);
	}

	/** Calls back when a devbox runs no more: connections into it are dead then, though no packet says so. */
	onStopped(listener: (devboxId: string) => void): void {
		this.#repository.on("transited", (id, status) => {
			if (!isStarting(status) && status !== "running") listener(id);
		});
	}

	/** Calls back when a box takes no other SSH key any more than its present one: who came with a former one is to go. */
	onKeyRotated(listener: (devboxId: string) => void): void {
		this.#repository.on("keyRotated", listener);
	}

	/** Calls back when a tunnel was removed or takes other credentials: what was let in before is to go. */
	onTunnelRevoked(listener: (devboxId: string) => void): void {
		this.#repository.on("tunnelRevoked", listener);
	}

	/** Calls back when a share link was deleted or has expired: whom it let in is to go. */
	onShareLinkEnded(listener: (devboxId: string, shareLinkId: string) => void): void {
		this.#repository.on("shareLinkEnded", listener);
	}

	async idsOfTeam(teamId: string): Promise<string[]> {
		const boxes = await this.#repository.list({ teamId, limit: Number.MAX_SAFE_INTEGER });
		return boxes.map(({ id }) => id);
	}

	/** Over all teams: for metrics. Zero is left out. */
	countByStatus(): Promise<ReadonlyMap<string, number>> {
		return this.#repository.countByStatus();
	}

	/** Resumes a box for a door that somebody knocks at; false when it is not suspended. Never rejects. */
	wake(id: string): Promise<boolean> {
		return this.#resume(id).catch((error: unknown) => {
			this.#options.log.error({ err: error, devboxId: id }, "a devbox could not be woken");
			return false;
		});
	}

	/**
	 * Resumes the box if it is suspended, or will be in a moment, and resolves once it runs; rejects with `UnavailableError`
	 * when it does not come to that.
	 */
	async awaitRunning(id: string, signal: AbortSignal): Promise<void> {
		// A start that fails leaves the box suspended, as it was: another would go the same way.
		let started = false;
		for (;;) {
			const changed = nextChange(this.#repository, id, signal);
			try {
				const row = await this.#repository.findRow(id);
				if (row?.status === "running" && this.address(id)) return;
				const status = row?.status as Status | undefined;
				if (!status || isEnded(status) || (status === "suspended" && started) || signal.aborted) {
					throw new UnavailableError("the devbox could not be started");
				}
				started ||= isStarting(status);
				if (status === "suspended") started = await this.#resume(id);
				else await changed.promise;
			} finally {
				changed.cancel();
			}
		}
	}

	/** What it takes to log in to a box that runs. A secret. Throws `UnavailableError`. */
	async sshAccess(id: string): Promise<SshAccess> {
		const row = await this.#repository.findRow(id);
		const address = this.address(id);
		if (row?.status !== "running" || address === undefined) throw new UnavailableError("the devbox does not run");
		const { privateKeyPem } = this.#repository.key(row);
		return { address, user: row.ssh_user, privateKeyPem, hostPublicKey: row.host_public_key };
	}

	/** Lets go of the boxes; they run on. Twice is fine. */
	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		this.#clocks.close();
		this.#shareLinks.close();
		this.#deadlines.close();
		await this.#keyRotation.close();
		await this.#supervisor.close();
		this.#repository.removeAllListeners();
	}

	#tunnelSet(
		action: "tunnel.enabled" | "tunnel.changed",
		actor: Actor,
		devboxId: string,
		tunnel: Tunnel,
	): Promise<void> {
		const details = {
			auth_mode: tunnel.authMode,
			http_keep_alive: tunnel.httpKeepAlive,
			wake_on_http: tunnel.wakeOnHttp,
			wake_mode: tunnel.wakeMode,
			cors_origins: tunnel.corsOrigins,
			loopback_ports: tunnel.loopbackPorts.map(String),
			localhost_ports: Object.keys(tunnel.portRules).filter(
				(port) => tunnel.portRules[port]?.hostHeader === "localhost",
			),
		};
		return this.#options.audit.write({ action, actor, devboxId, details });
	}

	async #suspend(id: string): Promise<boolean> {
		if (!(await this.#repository.transit(id, ["running"], "suspending"))) return false;
		void this.#supervisor.suspend(id);
		return true;
	}

	async #resume(id: string): Promise<boolean> {
		const row = await this.#repository.findRow(id);
		if (!row) return false;
		const { ttlSeconds } = JSON.parse(row.launch_parameters) as LaunchParameters;
		const change = { expires_at_ms: expiresAt(ttlSeconds, Date.now()) };
		if (!(await this.#repository.transit(id, ["suspended"], "resuming", { change }))) return false;
		void this.#supervisor.start(id);
		return true;
	}

	async #shutdown(id: string, reason: ShutdownReason): Promise<void> {
		if (await this.#supervisor.shutdown(id, reason)) void this.#supervisor.destroy(id);
	}

	#armDeadlines({ expiresAtMs, hardExpiresAtMs }: Devbox): void {
		for (const atMs of [expiresAtMs, hardExpiresAtMs]) if (atMs !== null) this.#deadlines.arm(atMs);
	}

	async #expired(id: string, expiry: Expiry): Promise<void> {
		try {
			if (expiry === "idle_suspend") await this.#suspend(id);
			else await this.#shutdown(id, expiry === "lifetime" ? "keep_alive_timeout" : "idle");
		} catch (error) {
			this.#options.log.error({ err: error, devboxId: id }, "an idle policy could not be carried out");
		}
	}

	/** A box's clocks run while it runs. */
	async #keepClock(id: string): Promise<void> {
		const row = await this.#repository.findRow(id).catch(() => undefined);
		if (this.#closed) return;
		if (row?.status !== "running" || row.running_since_ms === null) return this.#clocks.stop(id);
		if (this.#clocks.isRunning(id)) return;
		const launch = JSON.parse(row.launch_parameters) as LaunchParameters;
		this.#clocks.start(id, runLimits(launch, this.#options), row.ran_before_ms, row.running_since_ms);
	}

	#checkLifetime(launch: LaunchParameters): void {
		const { maxLifetime } = this.#options;
		if (maxLifetime > 0 && (launch.keepAliveTimeSeconds ?? 0) > maxLifetime) {
			throw new InvalidError(
				"launch_parameters.keep_alive_time_seconds",
				`must be at most ${maxLifetime}, the maximum of this installation`,
			);
		}
	}
}

/** An ended box stays so, but that a failed one can be shut down. */
function canStillReach(status: Status, wanted: readonly Status[]): boolean {
	return !isEnded(status) || (status === "failure" && wanted.includes("shutdown"));
}

function wrongState(box: Devbox, what: string, needed: string): ConflictError {
	return new ConflictError(`devbox ${box.id} is ${box.status}: it can be ${what} only while it is ${needed}`);
}

async function loadHostCa(secrets: SecretStorage): Promise<KeyPair> {
	const name = "ssh_host_ca";
	const stored = await secrets.get(name);
	if (stored !== undefined) return { privateKeyPem: stored, publicKey: publicKeyOf(stored) };
	const pair = await generateEcdsaKeyPair();
	await secrets.set(name, pair.privateKeyPem);
	return pair;
}
