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
	insertTunnel,
	listDevboxes,
	listDevboxesByStatus,
	type TunnelRow,
	transitDevbox,
	updateDevbox,
	updateTunnel,
} from "../store/devboxes.js";
import type { Schema, Seal, Store } from "../store/index.js";
import type { Devbox, Tunnel, TunnelParams } from "./devbox.js";
import type { KeyPair } from "./keys.js";
import { canFollow, type FailureReason, type Status } from "./lifecycle.js";

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
			await insertDevbox(trx, this.#newRow(box), box.tunnel && this.#tunnelRow(box.id, box.tunnel));
			await inTransaction?.(trx);
		});
		this.emit("changed", box.id);
		return this.#load(box.id);
	}

	/** Undefined when there is no such devbox (in that team, where one is given). */
	async find(id: string, teamId?: string): Promise<Devbox | undefined> {
		const row = await findDevbox(this.#db, id);
		if (!row || (teamId !== undefined && row.team_id !== teamId)) return undefined;
		return (await this.#complete([row]))[0];
	}

	findRow(id: string): Promise<DevboxRow | undefined> {
		return findDevbox(this.#db, id);
	}

	async findByTunnelKey(key: string): Promise<Devbox | undefined> {
		const id = await findDevboxIdByTunnelKey(this.#db, key);
		return id === undefined ? undefined : this.find(id);
	}

	async list(query: Parameters<typeof listDevboxes>[1]): Promise<Devbox[]> {
		return this.#complete(await listDevboxes(this.#db, query));
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

	hostKey(row: DevboxRow): KeyPair {
		return { privateKeyPem: this.#open(row, "host_private_key_sealed"), publicKey: row.host_public_key };
	}

	async addTunnel(id: string, tunnel: Tunnel): Promise<void> {
		await insertTunnel(this.#db, this.#tunnelRow(id, tunnel));
		this.emit("changed", id);
	}

	async changeTunnel(id: string, params: TunnelParams, token: string | null): Promise<void> {
		const { auth_mode, token_sealed, http_keep_alive, wake_on_http } = this.#tunnelRow(id, {
			...params,
			token,
			key: "",
			createdAtMs: 0,
		});
		await updateTunnel(this.#db, id, { auth_mode, token_sealed, http_keep_alive, wake_on_http });
		this.emit("changed", id);
		this.emit("tunnelRevoked", id);
	}

	async removeTunnel(id: string): Promise<void> {
		await deleteTunnel(this.#db, id);
		this.emit("changed", id);
		this.emit("tunnelRevoked", id);
	}

	async #load(id: string): Promise<Devbox> {
		const box = await this.find(id);
		if (!box) throw new Error(`devbox ${id} vanished from the store`);
		return box;
	}

	async #complete(rows: readonly DevboxRow[]): Promise<Devbox[]> {
		return (await completeDevboxes(this.#db, rows)).map((record) => this.#devbox(record));
	}

	#devbox({ devbox: row, transitions, tunnel }: DevboxRecord): Devbox {
		return {
			id: row.id,
			teamId: row.team_id,
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
			tunnel: tunnel && this.#tunnel(tunnel),
		};
	}

	#newRow(box: NewDevbox): DevboxRow {
		const seal = (column: SealedColumn, value: string) =>
			this.#seal.seal(value, { table: "devboxes", column, row: box.id });
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
		};
	}

	#open(row: DevboxRow, column: SealedColumn): string {
		return this.#seal.open(row[column], { table: "devboxes", column, row: row.id });
	}

	#tunnelRow(devboxId: string, tunnel: Tunnel): TunnelRow {
		return {
			devbox_id: devboxId,
			key: tunnel.key,
			auth_mode: tunnel.authMode,
			token_sealed: tunnel.token === null ? null : this.#seal.seal(tunnel.token, tokenPlace(devboxId)),
			http_keep_alive: Number(tunnel.httpKeepAlive),
			wake_on_http: Number(tunnel.wakeOnHttp),
			created_at_ms: tunnel.createdAtMs,
		};
	}

	#tunnel(row: TunnelRow): Tunnel {
		return {
			key: row.key,
			authMode: row.auth_mode,
			token: row.token_sealed === null ? null : this.#seal.open(row.token_sealed, tokenPlace(row.devbox_id)),
			httpKeepAlive: row.http_keep_alive === 1,
			wakeOnHttp: row.wake_on_http === 1,
			createdAtMs: row.created_at_ms,
		};
	}
}

type SealedColumn = "boot_sealed" | "ssh_private_key_sealed" | "host_private_key_sealed";

function tokenPlace(devboxId: string) {
	return { table: "tunnels", column: "token_sealed", row: devboxId };
}
