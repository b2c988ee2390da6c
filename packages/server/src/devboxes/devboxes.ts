import type { Transaction } from "kysely";
import type { Logger } from "pino";
import { ConflictError, InvalidError, NotFoundError, UnavailableError } from "../errors.js";
import type { Runtime } from "../runtime/runtime.js";
import type { Schema, Seal, SecretStorage, Store } from "../store/index.js";
import { nextChange } from "./changes.js";
import type {
	Actor,
	CreateParams,
	Devbox,
	LaunchParameters,
	LogEntry,
	SshKey,
	Tunnel,
	TunnelParams,
} from "./devbox.js";
import { type Expiry, IdleClocks, type LifetimeSettings, runLimits } from "./idle.js";
import { labelOf, newDevboxId } from "./ids.js";
import { generateEcdsaKeyPair, type KeyPair, publicKeyOf } from "./keys.js";
import { isEnded, isStarting, type ShutdownReason, type Status } from "./lifecycle.js";
import { DevboxLogs } from "./logs.js";
import { checkCreateParams, defaultUser } from "./params.js";
import { reconcile } from "./reconciler.js";
import { DevboxRepository } from "./repository.js";
import { Supervisor } from "./supervisor.js";
import { newToken, newTunnel, sameParams } from "./tunnels.js";

export interface DevboxesOptions extends LifetimeSettings {
	readonly store: Store;
	readonly seal: Seal;
	readonly secrets: SecretStorage;
	readonly runtime: Runtime;
	readonly log: Logger;
	readonly dataDir: string;
	/** `ssh.<domain>`: boxes are named below it. */
	readonly sshDomain: string;
}

export interface ListQuery {
	readonly limit: number;
	readonly startingAfter?: string;
	readonly status?: Status;
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
	readonly #hostCa: KeyPair;
	#closed = false;

	/** Brings store and runtime together, so that every devbox is what it says it is. */
	static async open(options: DevboxesOptions): Promise<Devboxes> {
		const devboxes = new Devboxes(options, await loadHostCa(options.secrets));
		await reconcile({ ...options, repository: devboxes.#repository, supervisor: devboxes.#supervisor });
		await devboxes.#logs.sweep(Date.now() - logsKeptMs, async (id) => {
			const row = await devboxes.#repository.findRow(id);
			return row === undefined || isEnded(row.status as Status);
		});
		return devboxes;
	}

	private constructor(options: DevboxesOptions, hostCa: KeyPair) {
		const { store, seal, runtime, log, dataDir, sshDomain } = options;
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
				tunnel: params.tunnel ? newTunnel(params.tunnel) : null,
				atMs: Date.now(),
			},
			options.inTransaction && ((trx) => options.inTransaction!(trx, id)),
		);
		void this.#supervisor.start(id);
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

	count(actor: Actor, query: { readonly status?: Status }): Promise<number> {
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

	/** The devbox's own pair, the same at every call. Throws `ConflictError` once it has ended. */
	async sshKey(actor: Actor, id: string): Promise<SshKey> {
		const box = await this.get(actor, id);
		const row = await this.#repository.findRow(id);
		if (!row || isEnded(box.status)) throw wrongState(box, "reached by ssh", "alive");
		return {
			privateKeyPem: this.#repository.key(row).privateKeyPem,
			sshUser: box.sshUser,
			hostname: `${labelOf(id)}.${this.#options.sshDomain}`,
		};
	}

	/**
	 * Gives the box a tunnel, or changes the one it has: key and URL stay, and where parameters differ the token is a new one.
	 * Throws `ConflictError` unless it runs.
	 */
	async enableTunnel(actor: Actor, id: string, params: TunnelParams): Promise<Tunnel> {
		const box = await this.get(actor, id);
		if (box.status !== "running") throw wrongState(box, "given a tunnel", "running");
		if (!box.tunnel) await this.#repository.addTunnel(id, newTunnel(params));
		else if (!sameParams(box.tunnel, params)) {
			await this.#repository.changeTunnel(id, params, newToken(params));
		}
		const { tunnel } = await this.get(actor, id);
		if (!tunnel) throw new ConflictError("the tunnel was removed at the same moment");
		return tunnel;
	}

	/** A box without one is fine. */
	async removeTunnel(actor: Actor, id: string): Promise<void> {
		await this.get(actor, id);
		await this.#repository.removeTunnel(id);
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

	/** Calls back when a tunnel was removed or takes other credentials: what was let in before is to go. */
	onTunnelRevoked(listener: (devboxId: string) => void): void {
		this.#repository.on("tunnelRevoked", listener);
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

	/** Resolves once the box runs; rejects with `UnavailableError` when it does not come to that. */
	async awaitRunning(id: string, signal: AbortSignal): Promise<void> {
		await this.#resume(id);
		for (;;) {
			const changed = nextChange(this.#repository, id, signal);
			const row = await this.#repository.findRow(id);
			if (row?.status === "running" && this.address(id)) return changed.cancel();
			const hopeless = !row || row.status === "suspended" || isEnded(row.status as Status);
			if (hopeless || signal.aborted) {
				changed.cancel();
				throw new UnavailableError("the devbox could not be started");
			}
			await changed.promise;
		}
	}

	/** Lets go of the boxes; they run on. Twice is fine. */
	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		this.#clocks.close();
		await this.#supervisor.close();
		this.#repository.removeAllListeners();
	}

	async #suspend(id: string): Promise<boolean> {
		if (!(await this.#repository.transit(id, ["running"], "suspending"))) return false;
		void this.#supervisor.suspend(id);
		return true;
	}

	async #resume(id: string): Promise<boolean> {
		if (!(await this.#repository.transit(id, ["suspended"], "resuming"))) return false;
		void this.#supervisor.start(id);
		return true;
	}

	async #shutdown(id: string, reason: ShutdownReason): Promise<void> {
		if (await this.#supervisor.shutdown(id, reason)) void this.#supervisor.destroy(id);
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
