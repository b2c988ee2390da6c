import { timingSafeEqual } from "node:crypto";
import type { Kysely, Selectable } from "kysely";
import type { AuditActor, AuditSink } from "../audit/index.js";
import { ConflictError, NotFoundError } from "../errors.js";
import type { Schema, Store } from "../store/index.js";
import { newId } from "./ids.js";
import { checkedLabel } from "./names.js";
import type { Revocations } from "./revocations.js";
import { fingerprintOf, parseSshPublicKey } from "./ssh-public-key.js";

/** A public key that its user has uploaded. */
export interface UserSshKey {
	/** `sshk_` and 26 lowercase base32 characters. */
	readonly id: string;
	readonly name: string;
	/** `<type> <base64>`, and the comment where there is one. */
	readonly publicKey: string;
	readonly keyType: string;
	/** `SHA256:…`. */
	readonly fingerprint: string;
	readonly comment: string;
	readonly createdAtMs: number;
	readonly updatedAtMs: number;
}

/** Whose key somebody showed. */
export interface SshKeyOwner {
	readonly sshKeyId: string;
	readonly userId: string;
	/** `<type> <base64>`. */
	readonly publicKeyLine: string;
}

interface SshKeysOptions {
	readonly store: Pick<Store, "db" | "transaction">;
	readonly revocations: Revocations;
	readonly audit: AuditSink;
	readonly now: () => number;
}

/** The user whose keys they are, and how they ask. */
type Owner = AuditActor & { readonly userId: string };

/** Of one user. */
const maxKeys = 100;

/** Users' SSH public keys: they say who somebody is, never what they may do. */
export class SshKeys {
	readonly #options: SshKeysOptions;

	constructor(options: SshKeysOptions) {
		this.#options = options;
	}

	/** Throws `InvalidError`, and `ConflictError` for a key that is there already, whosever it is. */
	async create(owner: Owner, params: { readonly name: string; readonly publicKey: string }): Promise<UserSshKey> {
		const { userId } = owner;
		const name = checkedLabel(params.name);
		const key = parseSshPublicKey(params.publicKey);
		const nowMs = this.#options.now();
		const row: SshKeyRow = {
			id: newId("sshk"),
			user_id: userId,
			name,
			public_key: key.line,
			key_type: key.keyType,
			fingerprint_sha256: key.fingerprint,
			comment: key.comment,
			created_at_ms: nowMs,
			updated_at_ms: nowMs,
		};
		await this.#options.store.transaction(async (trx) => {
			const present = await trx
				.selectFrom("ssh_keys")
				.select((eb) => eb.fn.countAll<number>().as("count"))
				.where("user_id", "=", userId)
				.executeTakeFirstOrThrow();
			if (Number(present.count) >= maxKeys) throw new ConflictError(`you have ${maxKeys} SSH keys: delete one first`);
			const { numInsertedOrUpdatedRows } = await trx
				.insertInto("ssh_keys")
				.values(row)
				.onConflict((conflict) => conflict.column("fingerprint_sha256").doNothing())
				.executeTakeFirstOrThrow();
			if (numInsertedOrUpdatedRows !== 1n) throw await uploadedAlready(trx, row);
		});
		const details = { ssh_key_id: row.id, fingerprint: key.fingerprint };
		await this.#options.audit.write({ action: "ssh_key.created", actor: owner, details });
		return toKey(row);
	}

	/** Oldest first. */
	async list(userId: string): Promise<UserSshKey[]> {
		const keys = this.#options.store.db.selectFrom("ssh_keys").selectAll().where("user_id", "=", userId);
		return (await keys.orderBy("id").execute()).map(toKey);
	}

	/** Throws `NotFoundError` when the user has no such key. */
	async delete(owner: Owner, id: string): Promise<void> {
		const { userId } = owner;
		const mine = this.#options.store.db.deleteFrom("ssh_keys").where("user_id", "=", userId).where("id", "=", id);
		const { numDeletedRows } = await mine.executeTakeFirstOrThrow();
		if (numDeletedRows === 0n) throw new NotFoundError("SSH key");
		this.#options.revocations.emit("accessRevoked", { userId, sshKeyId: id });
		await this.#options.audit.write({ action: "ssh_key.deleted", actor: owner, details: { ssh_key_id: id } });
	}

	/**
	 * Whose key this is. `algorithm` is the one it is to be used with: a key of type `ssh-rsa` signs by `rsa-sha2-256` and
	 * `rsa-sha2-512` (RFC 8332), every other by the algorithm that its type is called.
	 */
	async find(algorithm: string, blob: Buffer): Promise<SshKeyOwner | undefined> {
		const row = await this.#options.store.db
			.selectFrom("ssh_keys")
			.select(["id", "user_id", "public_key", "key_type"])
			.where("fingerprint_sha256", "=", fingerprintOf(blob))
			.executeTakeFirst();
		if (row === undefined || row.key_type !== algorithm.replace(/^rsa-sha2-(256|512)$/, "ssh-rsa")) return undefined;
		const stored = Buffer.from(row.public_key.slice(row.key_type.length + 1), "base64");
		if (stored.length !== blob.length || !timingSafeEqual(stored, blob)) return undefined;
		return { sshKeyId: row.id, userId: row.user_id, publicKeyLine: row.public_key };
	}
}

type SshKeyRow = Selectable<Schema["ssh_keys"]>;

/** A public key is no secret: whoever uploads somebody else's gets in nowhere by it, but keeps its owner from doing so. */
async function uploadedAlready(db: Kysely<Schema>, row: SshKeyRow): Promise<ConflictError> {
	const { user_id } = await db
		.selectFrom("ssh_keys")
		.select("user_id")
		.where("fingerprint_sha256", "=", row.fingerprint_sha256)
		.executeTakeFirstOrThrow();
	if (user_id === row.user_id) return new ConflictError("you have uploaded this SSH key already");
	return new ConflictError("another user has uploaded this SSH key: use another, or ask an admin of the first team");
}

function toKey(row: SshKeyRow): UserSshKey {
	return {
		id: row.id,
		name: row.name,
		publicKey: row.comment === "" ? row.public_key : `${row.public_key} ${row.comment}`,
		keyType: row.key_type,
		fingerprint: row.fingerprint_sha256,
		comment: row.comment,
		createdAtMs: row.created_at_ms,
		updatedAtMs: row.updated_at_ms,
	};
}
