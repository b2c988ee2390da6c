import type { Kysely } from "kysely";
import { ConflictError, NotFoundError } from "../errors.js";
import type { Schema, Store } from "../store/index.js";
import { newId } from "./ids.js";
import { checkedName } from "./names.js";
import type { Revocations } from "./revocations.js";
import { requireOtherAdmin } from "./teams.js";

export interface User {
	/** `usr_` and 26 lowercase base32 characters. */
	readonly id: string;
	readonly name: string;
	readonly createdAtMs: number;
}

interface UsersOptions {
	readonly store: Pick<Store, "db" | "transaction">;
	readonly revocations: Revocations;
	readonly now: () => number;
}

/** The users of an installation. */
export class Users {
	readonly #options: UsersOptions;

	constructor(options: UsersOptions) {
		this.#options = options;
	}

	/** Throws `InvalidError`, `ConflictError` for a name that is taken. */
	async create(name: string): Promise<User> {
		const user = { id: newId("usr"), name: checkedName(name), created_at_ms: this.#options.now() };
		await this.#options.store.transaction(async (trx) => {
			await requireFreeName(trx, user.name);
			await trx.insertInto("users").values(user).execute();
		});
		return toUser(user);
	}

	/** Oldest first. */
	async list(teamId?: string): Promise<User[]> {
		const { db } = this.#options.store;
		const members = db.selectFrom("memberships").select("user_id");
		let users = db.selectFrom("users").selectAll().orderBy("id");
		if (teamId !== undefined) users = users.where("id", "in", members.where("team_id", "=", teamId));
		return (await users.execute()).map(toUser);
	}

	/** Throws `NotFoundError`, as do all that take an id. */
	async get(id: string): Promise<User> {
		return toUser(await find(this.#options.store.db, id));
	}

	async rename(id: string, name: string): Promise<User> {
		return this.#options.store.transaction(async (trx) => {
			const user = await find(trx, id);
			if (user.name !== name) await requireFreeName(trx, checkedName(name));
			await trx.updateTable("users").set({ name }).where("id", "=", id).execute();
			return toUser({ ...user, name });
		});
	}

	/** With memberships, API keys and SSH keys. Throws `ConflictError` for the last admin of a team. */
	async delete(id: string): Promise<void> {
		await this.#options.store.transaction(async (trx) => {
			await find(trx, id);
			const teams = await trx.selectFrom("memberships").select("team_id").where("user_id", "=", id).execute();
			for (const { team_id } of teams) await requireOtherAdmin(trx, team_id, id);
			await trx.deleteFrom("memberships").where("user_id", "=", id).execute();
			await trx.deleteFrom("api_keys").where("user_id", "=", id).execute();
			await trx.deleteFrom("ssh_keys").where("user_id", "=", id).execute();
			await trx.deleteFrom("users").where("id", "=", id).execute();
		});
		this.#options.revocations.emit("accessRevoked", { userId: id });
	}
}

async function find(db: Kysely<Schema>, id: string): Promise<Schema["users"]> {
	const user = await db.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirst();
	if (!user) throw new NotFoundError("user");
	return user;
}

async function requireFreeName(db: Kysely<Schema>, name: string): Promise<void> {
	const taken = await db.selectFrom("users").select("id").where("name", "=", name).executeTakeFirst();
	if (taken) throw new ConflictError(`there is a user ${name} already`);
}

function toUser(row: Schema["users"]): User {
	return { id: row.id, name: row.name, createdAtMs: row.created_at_ms };
}
