import type { Kysely, Selectable } from "kysely";
import { ConflictError, NotFoundError } from "../errors.js";
import type { Schema, Store } from "../store/index.js";
import { newId } from "./ids.js";
import { checkedName } from "./names.js";
import type { Revocations } from "./revocations.js";
import type { Role } from "./roles.js";

export interface Team {
	/** `team_` and 26 lowercase base32 characters. */
	readonly id: string;
	readonly name: string;
	/** Whether its devboxes are reached through the passthrough. */
	readonly passthroughEnabled: boolean;
	readonly createdAtMs: number;
}

export interface Member {
	readonly userId: string;
	readonly name: string;
	readonly role: Role;
	readonly createdAtMs: number;
}

interface TeamsOptions {
	readonly store: Pick<Store, "db" | "transaction">;
	readonly revocations: Revocations;
	readonly now: () => number;
}

/** The teams of an installation, and who is in them. */
export class Teams {
	readonly #options: TeamsOptions;

	constructor(options: TeamsOptions) {
		this.#options = options;
	}

	/** Nobody is in it yet. Throws `InvalidError`, `ConflictError` for a name that is taken. */
	async create(name: string): Promise<Team> {
		const row = {
			id: newId("team"),
			name: checkedName(name),
			created_at_ms: this.#options.now(),
			passthrough_enabled: 1,
		};
		await this.#options.store.transaction(async (trx) => {
			await requireFreeName(trx, row.name);
			await trx.insertInto("teams").values(row).execute();
		});
		return toTeam(row);
	}

	/** Oldest first. */
	async list(): Promise<Team[]> {
		return (await this.#options.store.db.selectFrom("teams").selectAll().orderBy("id").execute()).map(toTeam);
	}

	/** Throws `NotFoundError`, as do all that take an id. */
	async get(id: string): Promise<Team> {
		return toTeam(await find(this.#options.store.db, id));
	}

	/** What is left out stays. */
	async update(id: string, change: { readonly name?: string; readonly passthroughEnabled?: boolean }): Promise<Team> {
		const team = await this.#options.store.transaction(async (trx) => {
			const present = await find(trx, id);
			const { name = present.name, passthroughEnabled = present.passthrough_enabled === 1 } = change;
			if (name !== present.name) await requireFreeName(trx, checkedName(name));
			const set = { name, passthrough_enabled: Number(passthroughEnabled) };
			await trx.updateTable("teams").set(set).where("id", "=", id).execute();
			return toTeam({ ...present, ...set });
		});
		if (change.passthroughEnabled === false) this.#options.revocations.emit("passthroughDisabled", id);
		return team;
	}

	/** With its memberships, API keys and the records of its devboxes. Throws `ConflictError` while a devbox is left. */
	async delete(id: string): Promise<void> {
		const members = await this.#options.store.transaction(async (trx) => {
			await find(trx, id);
			// A devbox that is shut down has no secrets any more as soon as nothing else is left of it either.
			const left = await trx
				.selectFrom("devboxes")
				.select("id")
				.where("team_id", "=", id)
				.where("boot_sealed", "!=", "")
				.executeTakeFirst();
			if (left) throw new ConflictError(`the team has devboxes, such as ${left.id}: shut them down first`);
			const users = await trx.selectFrom("memberships").select("user_id").where("team_id", "=", id).execute();
			for (const table of ["devboxes", "api_keys", "memberships"] as const) {
				await trx.deleteFrom(table).where("team_id", "=", id).execute();
			}
			await trx.deleteFrom("teams").where("id", "=", id).execute();
			return users;
		});
		for (const { user_id } of members) this.#options.revocations.emit("accessRevoked", { userId: user_id, teamId: id });
	}

	/** In the order in which they came. */
	async members(teamId: string): Promise<Member[]> {
		await this.get(teamId);
		const rows = await members(this.#options.store.db, teamId).orderBy("memberships.created_at_ms").execute();
		return rows.map(toMember);
	}

	/** Throws `ConflictError` for somebody who is in the team already. */
	async addMember(teamId: string, userId: string, role: Role): Promise<Member> {
		return this.#options.store.transaction(async (trx) => {
			await find(trx, teamId);
			const user = await trx.selectFrom("users").select("id").where("id", "=", userId).executeTakeFirst();
			if (!user) throw new NotFoundError("user");
			const { numInsertedOrUpdatedRows } = await trx
				.insertInto("memberships")
				.values({ team_id: teamId, user_id: userId, role, created_at_ms: this.#options.now() })
				.onConflict((conflict) => conflict.columns(["team_id", "user_id"]).doNothing())
				.executeTakeFirstOrThrow();
			if (numInsertedOrUpdatedRows !== 1n) throw new ConflictError("the user is in the team already");
			return findMember(trx, teamId, userId);
		});
	}

	/** Throws `ConflictError` for the last admin. */
	async setRole(teamId: string, userId: string, role: Role): Promise<Member> {
		const [before, after] = await this.#options.store.transaction(async (trx) => {
			const member = await findMember(trx, teamId, userId);
			if (role !== "admin") await requireOtherAdmin(trx, teamId, userId);
			const mine = trx.updateTable("memberships").where("team_id", "=", teamId).where("user_id", "=", userId);
			await mine.set({ role }).execute();
			return [member, { ...member, role }];
		});
		if (before.role !== role) this.#options.revocations.emit("accessRevoked", { userId, teamId });
		return after;
	}

	/** Their API keys of the team are void from here on. Throws `ConflictError` for the last admin. */
	async removeMember(teamId: string, userId: string): Promise<void> {
		await this.#options.store.transaction(async (trx) => {
			await findMember(trx, teamId, userId);
			await requireOtherAdmin(trx, teamId, userId);
			await trx.deleteFrom("memberships").where("team_id", "=", teamId).where("user_id", "=", userId).execute();
			// For good: who comes back gets new ones.
			await trx
				.updateTable("api_keys")
				.set({ revoked_at_ms: this.#options.now() })
				.where("team_id", "=", teamId)
				.where("user_id", "=", userId)
				.where("revoked_at_ms", "is", null)
				.execute();
		});
		this.#options.revocations.emit("accessRevoked", { userId, teamId });
	}

	/** Not cached: a role that was taken away is gone at once. */
	async roleIn(userId: string, teamId: string): Promise<Role | undefined> {
		const memberships = this.#options.store.db.selectFrom("memberships").select("role");
		const mine = memberships.where("team_id", "=", teamId).where("user_id", "=", userId);
		return (await mine.executeTakeFirst())?.role;
	}
}

/** Throws `ConflictError` when the user is a team's only admin. For use in the transaction that makes them none. */
export async function requireOtherAdmin(db: Kysely<Schema>, teamId: string, userId: string): Promise<void> {
	const admins = await db
		.selectFrom("memberships")
		.innerJoin("teams", "teams.id", "memberships.team_id")
		.select(["user_id", "teams.name"])
		.where("team_id", "=", teamId)
		.where("role", "=", "admin")
		.execute();
	const [only] = admins;
	if (admins.length === 1 && only?.user_id === userId) {
		throw new ConflictError(`the user is the last admin of the team ${only.name}: make somebody else admin first`);
	}
}

async function find(db: Kysely<Schema>, id: string): Promise<TeamRow> {
	const team = await db.selectFrom("teams").selectAll().where("id", "=", id).executeTakeFirst();
	if (!team) throw new NotFoundError("team");
	return team;
}

async function requireFreeName(db: Kysely<Schema>, name: string): Promise<void> {
	const taken = await db.selectFrom("teams").select("id").where("name", "=", name).executeTakeFirst();
	if (taken) throw new ConflictError(`there is a team ${name} already`);
}

function members(db: Kysely<Schema>, teamId: string) {
	return db
		.selectFrom("memberships")
		.innerJoin("users", "users.id", "memberships.user_id")
		.select(["memberships.user_id", "users.name", "memberships.role", "memberships.created_at_ms"])
		.where("memberships.team_id", "=", teamId);
}

async function findMember(db: Kysely<Schema>, teamId: string, userId: string): Promise<Member> {
	const row = await members(db, teamId).where("memberships.user_id", "=", userId).executeTakeFirst();
	if (!row) throw new NotFoundError("member");
	return toMember(row);
}

type TeamRow = Selectable<Schema["teams"]>;

function toTeam(row: TeamRow): Team {
	return {
		id: row.id,
		name: row.name,
		passthroughEnabled: row.passthrough_enabled === 1,
		createdAtMs: row.created_at_ms,
	};
}

function toMember(row: { user_id: string; name: string; role: Role; created_at_ms: number }): Member {
	return { userId: row.user_id, name: row.name, role: row.role, createdAtMs: row.created_at_ms };
}
