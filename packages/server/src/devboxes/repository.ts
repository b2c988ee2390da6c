import { EventEmitter } from "node:events";
import type { Kysely, Transaction, Updateable } from "kysely";
import {
	completeDevboxes,
	countDevboxes,
	countDevboxesByStatus,
	type DevboxRecord,
	type DevboxRow,
	deleteTunnel,
	findDevbox,
	findDevboxIdByTunnelKey,
	insertDevbox,
	listDevboxes,
	listDevboxesByStatus,
	putTunnel,
	transitDevbox,
	updateDevbox,
} from "../store/devboxes.js";
import { listExpiredDevboxes, nextDevboxExpiry } from "../store/expiry.js";
import type { Schema, Seal, Store } from "../store/index.js";
import {
	deleteExpiredShareLinks,
	deleteShareLink,
	insertShareLink,
	nextShareLinkExpiry,
} from "../store/share-links.js";
import { forgetSshKeyFetches, listExposedDevboxes, noteSshKeyFetch } from "../store/ssh-key-fetches.js";
import { passthroughEnabled } from "../store/teams.js";
import { expiresAt } from "./deadlines.js";
import type { Devbox, ShareLink, Tunnel } from "./devbox.js";
import type { KeyPair } from "./keys.js";
import { canFollow, type FailureReason, isEnded, type Status } from "./lifecycle.js";
import { toTunnel, tunnelRow } from "./tunnel-rows.js";

/** What only a starting box needs to know, kept sealed as a whole: environment variables and files hold credentials. */
export interface BootSecrets {
	readonly entrypoint?: string;
	readonly environmentVariables: Readonly<Record<string, string>>;
	readonly files: Readonly<Record<string, string>>;
}

export interface NewDevbox {
	readonly id: string;
	readonly teamId: string;
	readonly createdBy: string;
	readonly name: string | null;
	readonly runtime: Devbox["runtime"];
	readonly launchParameters: Devbox["launchParameters"];
	readonly metadata: Devbox["metadata"];
	readonly boot: BootSecrets;
	readonly sshUser: string;
	readonly key: KeyPair;
	readonly hostKey: KeyPair;
	readonly tunnel: Tunnel | null;
	readonly atMs: number;
}

export interface TransitOptions {
	readonly failureReason?: FailureReason;
	readonly change?: Updateable<Schema["devboxes"]>;
}

interface Events {
	/** Anything about a devbox has changed. */
	changed: [devboxId: string];
	/** It has another status. */
	transited: [devboxId: string, status: Status];
	/** Its tunnel was removed, or takes other credentials from now on. */
	tunnelRevoked: [devboxId: string];
	/** It has another SSH key, and if it runs takes no other any more. */
	keyRotated: [devboxId: string];
	/** One of its share links was deleted or has expired. */
	shareLinkEnded: [devboxId: string, shareLinkId: string];
}

/** Devboxes in the store: rows to objects, secrets sealed and opened, and every change announced. */
export class DevboxRepository extends EventEmitter<Events> {
	readonly #store: Store;
	readonly #seal: Seal;

	constructor(store: Store, seal: Seal) {
		super();
		this.setMaxListeners(0);
		this.#store = store;
		this.#seal = seal;
	}

	get #db(): Kysely<Schema> {
		return this.#store.db;
	}

	async create(box: NewDevbox, inTransaction?: (trx: Transaction<Schema>) => Promise<void>): Promise<Devbox> {
		await this.#store.transaction(async (trx) => {
			await insertDevbox(trx, this.#newRow(box), box.tunnel && tunnelRow(this.#seal, box.id, box.tunnel));
			await inTransaction?.(trx);
		});
		this.emit("changed", box.id);
		return this.#load(box.id);
	}

	/** Undefined when there is no such devbox (in that team, where one is given). */
	async find(id: string, teamId?: string): Promise<Devbox | undefined> {
		const row = await findDevbox(this.#db, id);
		if (!row || (teamId !== undefined && row.team_id !== teamId)) return undefined;
		return (await this.#complete(this.#db, [row]))[0];
	}

	findRow(id: string): Promise<DevboxRow | undefined> {
		return findDevbox(this.#db, id);
	}

	async findByTunnelKey(key: string): Promise<Devbox | undefined> {
		const id = await findDevboxIdByTunnelKey(this.#db, key);
		return id === undefined ? undefined : this.find(id);
	}

	async list(query: Parameters<typeof listDevboxes>[1]): Promise<Devbox[]> {
		return this.#complete(this.#db, await listDevboxes(this.#db, query));
	}

	count(query: Parameters<typeof countDevboxes>[1]): Promise<number> {
		return countDevboxes(this.#db, query);
	}

	countByStatus(): Promise<ReadonlyMap<string, number>> {
		return countDevboxesByStatus(this.#db);
	}

	rowsByStatus(statuses: readonly Status[]): Promise<DevboxRow[]> {
		return listDevboxesByStatus(this.#db, statuses);
	}

	/** Compare-and-set: undefined when the devbox is in none of the states `from` any more. */
	async transit(
		id: string,
		from: readonly Status[],
		to: Status,
		options: TransitOptions = {},
	): Promise<DevboxRow | undefined> {
		const allowed = from.filter((status) => canFollow(status, to));
		if (allowed.length === 0) return undefined;
		const { failureReason } = options;
		const row = await transitDevbox(
			this.#db,
			id,
			allowed,
			{ status: to, atMs: Date.now(), failureReason: failureReason ?? null },
			failureReason ? { ...options.change, failure_reason: failureReason } : options.change,
		);
		if (row) {
			this.emit("changed", id);
			this.emit("transited", id, to);
		}
		return row;
	}

	async update(id: string, change: Omit<Updateable<Schema["devboxes"]>, "status">): Promise<void> {
		await updateDevbox(this.#db, id, change);
		this.emit("changed", id);
	}

	/** Its secrets are gone for good: keys, tunnel, environment. The row stays as a record. */
	async forgetSecrets(id: string): Promise<void> {
		await this.#store.transaction(async (trx) => {
			await deleteTunnel(trx, id);
			await forgetSshKeyFetches(trx, id);
			await updateDevbox(trx, id, { ssh_private_key_sealed: "", host_private_key_sealed: "", boot_sealed: "" });
		});
		this.emit("changed", id);
	}

	bootSecrets(row: DevboxRow): BootSecrets {
		return JSON.parse(this.#open(row, "boot_sealed")) as BootSecrets;
	}

	key(row: DevboxRow): KeyPair {
		return { privateKeyPem: this.#open(row, "ssh_private_key_sealed"), publicKey: row.ssh_public_key };
	}

	/** With the key that the user is about to get, and the note that they did; undefined for who may not have it. */
	handOutKey(id: string, userId: string): Promise<DevboxRow | undefined> {
		return this.#store.transaction(async (trx) => {
			const noted = await noteSshKeyFetch(trx, { devboxId: id, userId, atMs: Date.now() });
			return noted ? findDevbox(trx, id) : undefined;
		});
	}

	/** Nobody has the new one yet. False for a box that has ended. */
	async replaceKey(id: string, key: KeyPair): Promise<boolean> {
		const replaced = await this.#store.transaction(async (trx) => {
			const row = await findDevbox(trx, id);
			if (!row || isEnded(row.status as Status)) return false;
			const ssh_private_key_sealed = this.#sealColumn(id, "ssh_private_key_sealed", key.privateKeyPem);
			await updateDevbox(trx, id, { ssh_public_key: key.publicKey, ssh_private_key_sealed });
			await forgetSshKeyFetches(trx, id);
			return true;
		});
		if (replaced) this.emit("changed", id);
		return replaced;
	}

	/** Boxes whose key somebody has had who may not enter them any more. */
	exposedDevboxes(): Promise<string[]> {
		return listExposedDevboxes(this.#db);
	}

	/** Boxes whose time is over. */
	expired(nowMs: number): ReturnType<typeof listExpiredDevboxes> {
		return listExpiredDevboxes(this.#db, nowMs);
	}

	/** When the next one's time is over; undefined when there is none. */
	nextExpiry(): Promise<number | undefined> {
		return nextDevboxExpiry(this.#db);
	}

	/** Whether the team lets its boxes be reached through the passthrough. */
	passthroughEnabled(teamId: string): Promise<boolean> {
		return passthroughEnabled(this.#db, teamId);
	}

	hostKey(row: DevboxRow): KeyPair {
		return { privateKeyPem: this.#open(row, "host_private_key_sealed"), publicKey: row.host_public_key };
	}

	/**
	 * Gives the devbox the tunnel that `next` says, which sees the devbox as it is and may throw: of two calls at once one
	 * sees what the other has done. The same tunnel again changes nothing; another one takes its place, without links.
	 */
	async setTunnel(
		id: string,
		next: (box: Devbox) => Tunnel,
	): Promise<{ readonly before: Tunnel | null; readonly after: Tunnel }> {
		const change = await this.#store.transaction(async (trx) => {
			const box = await this.#load(id, trx);
			const tunnel = next(box);
			if (tunnel !== box.tunnel) await putTunnel(trx, tunnelRow(this.#seal, id, tunnel));
			return { before: box.tunnel, after: tunnel };
		});
		if (change.after === change.before) return change;
		this.emit("changed", id);
		if (change.before) this.emit("tunnelRevoked", id);
		return change;
	}

	async removeTunnel(id: string): Promise<void> {
		await this.#store.transaction((trx) => deleteTunnel(trx, id));
		this.emit("changed", id);
		this.emit("tunnelRevoked", id);
	}

	/** Unless `admit`, which sees the devbox as it is, throws. */
	async addShareLink(id: string, link: ShareLink, createdBy: string, admit: (box: Devbox) => Tunnel): Promise<Tunnel> {
		const tunnel = await this.#store.transaction(async (trx) => {
			const admitting = admit(await this.#load(id, trx));
			await insertShareLink(trx, {
				id: link.id,
				devbox_id: id,
				port: link.port,
				path: link.path,
				created_by: createdBy,
				created_at_ms: link.createdAtMs,
				expires_at_ms: link.expiresAtMs,
			});
			return admitting;
		});
		this.emit("changed", id);
		return tunnel;
	}

	/** False when there was none. */
	async removeShareLink(id: string, shareLinkId: string): Promise<boolean> {
		const removed = await deleteShareLink(this.#db, id, shareLinkId);
		if (removed) this.#shareLinkEnded(id, shareLinkId);
		return removed;
	}

	/** @returns when the next one will expire; undefined when there is none */
	async removeExpiredShareLinks(nowMs: number): Promise<number | undefined> {
		const expired = await deleteExpiredShareLinks(this.#db, nowMs);
		for (const link of expired) this.#shareLinkEnded(link.devbox_id, link.id);
		return nextShareLinkExpiry(this.#db);
	}

	#shareLinkEnded(id: string, shareLinkId: string): void {
		this.emit("changed", id);
		this.emit("shareLinkEnded", id, shareLinkId);
	}

	async #load(id: string, db = this.#db): Promise<Devbox> {
		const row = await findDevbox(db, id);
		const [box] = row ? await this.#complete(db, [row]) : [];
		if (!box) throw new Error(`devbox ${id} vanished from the store`);
		return box;
	}

	async #complete(db: Kysely<Schema>, rows: readonly DevboxRow[]): Promise<Devbox[]> {
		return (await completeDevboxes(db, rows, Date.now())).map((record) => this.#devbox(record));
	}

	#devbox({ devbox: row, transitions, tunnel, shareLinks }: DevboxRecord): Devbox {
		return {
			id: row.id,
			teamId: row.team_id,
			createdBy: row.created_by,
			name: row.name,
			status: row.status as Status,
			runtime: row.runtime as Devbox["runtime"],
			launchParameters: JSON.parse(row.launch_parameters),
			metadata: JSON.parse(row.metadata),
			sshUser: row.ssh_user,
			transitions: transitions.map((transition) => ({
				status: transition.status as Status,
				atMs: transition.at_ms,
				failureReason: transition.failure_reason as FailureReason | null,
			})),
			failureReason: row.failure_reason as Devbox["failureReason"],
			shutdownReason: row.shutdown_reason as Devbox["shutdownReason"],
			createdAtMs: row.created_at_ms,
			endedAtMs: row.ended_at_ms,
			expiresAtMs: row.expires_at_ms,
			hardExpiresAtMs: row.hard_expires_at_ms,
			generation: row.generation,
			tunnel: tunnel && toTunnel(this.#seal, tunnel, shareLinks),
		};
	}

	#newRow(box: NewDevbox): DevboxRow {
		const seal = (column: SealedColumn, value: string) => this.#sealColumn(box.id, column, value);
		return {
			id: box.id,
			team_id: box.teamId,
			created_by: box.createdBy,
			name: box.name,
			status: "provisioning" satisfies Status,
			runtime: box.runtime,
			launch_parameters: JSON.stringify(box.launchParameters),
			metadata: JSON.stringify(box.metadata),
			boot_sealed: seal("boot_sealed", JSON.stringify(box.boot)),
			ssh_user: box.sshUser,
			ssh_public_key: box.key.publicKey,
			ssh_private_key_sealed: seal("ssh_private_key_sealed", box.key.privateKeyPem),
			host_public_key: box.hostKey.publicKey,
			host_private_key_sealed: seal("host_private_key_sealed", box.hostKey.privateKeyPem),
			failure_reason: null,
			shutdown_reason: null,
			created_at_ms: box.atMs,
			ended_at_ms: null,
			running_since_ms: null,
			ran_before_ms: 0,
			generation: 0,
			initialized: 0,
			expires_at_ms: expiresAt(box.launchParameters.ttlSeconds, box.atMs),
			hard_expires_at_ms: expiresAt(box.launchParameters.hardTtlSeconds, box.atMs),
		};
	}

	#sealColumn(id: string, column: SealedColumn, value: string): string {
		return this.#seal.seal(value, { table: "devboxes", column, row: id });
	}

	#open(row: DevboxRow, column: SealedColumn): string {
		return this.#seal.open(row[column], { table: "devboxes", column, row: row.id });
	}
}

type SealedColumn = "boot_sealed" | "ssh_private_key_sealed" | "host_private_key_sealed";
