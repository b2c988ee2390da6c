import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { StoreError } from "../errors.js";

/** Where a sealed value lives. It opens there and nowhere else: a row's secret cannot be moved to another row. */
export interface SealedPlace {
	readonly table: string;
	readonly column: string;
	/** The row's primary key; for one of several columns, a JSON array of them. */
	readonly row: string;
}

const VERSION = "v1";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

/**
 * Encrypts what the store must not show: AES-256-GCM, a random nonce, the place as associated data.
 * A sealed value is text: `v1.<key id>.<base64url of nonce, ciphertext, tag>`.
 *
 * @example
 * const seal = new Seal(await loadMasterKey({ dataDir, db }));
 * const token_sealed = seal.seal(token, { table: "tunnels", column: "token_sealed", row: devboxId });
 */
export class Seal {
	/** Id of the key that seals; 16 hex digits. */
	readonly keyId: string;
	readonly #master: Buffer;
	readonly #keys: ReadonlyMap<string, Buffer>;

	/** 32-byte master keys: the first seals, all of them open. */
	constructor(masterKeys: Buffer | readonly Buffer[]) {
		const [current, ...older] = Buffer.isBuffer(masterKeys) ? [masterKeys] : masterKeys;
		if (current === undefined) throw new TypeError("a Seal needs a master key");
		this.#master = Buffer.from(current);
		this.#keys = new Map([current, ...older].map((key) => [keyId(key), derive(key, "gangway seal v1")]));
		this.keyId = keyId(current);
	}

	seal(plaintext: string, place: SealedPlace): string {
		const nonce = randomBytes(NONCE_BYTES);
		const cipher = createCipheriv("aes-256-gcm", this.#key(this.keyId), nonce);
		cipher.setAAD(associatedData(this.keyId, place));
		const body = Buffer.concat([nonce, cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
		return `${VERSION}.${this.keyId}.${body.toString("base64url")}`;
	}

	/** Throws `StoreError`: `damaged` when the value was changed or belongs elsewhere, `wrong_master_key` when its key is not here. */
	open(sealed: string, place: SealedPlace): string {
		const [version, id = "", encoded = "", ...rest] = sealed.split(".");
		const body = Buffer.from(encoded, "base64url");
		// Node's decoder skips what is not base64url; only the canonical text is what was written.
		const wellFormed = version === VERSION && rest.length === 0 && body.toString("base64url") === encoded;
		if (!wellFormed || body.length < NONCE_BYTES + TAG_BYTES) throw damaged(place);
		const decipher = createDecipheriv("aes-256-gcm", this.#key(id), body.subarray(0, NONCE_BYTES), {
			authTagLength: TAG_BYTES,
		});
		decipher.setAAD(associatedData(id, place));
		decipher.setAuthTag(body.subarray(-TAG_BYTES));
		try {
			const plaintext = decipher.update(body.subarray(NONCE_BYTES, -TAG_BYTES));
			return Buffer.concat([plaintext, decipher.final()]).toString("utf8");
		} catch (cause) {
			throw damaged(place, cause);
		}
	}

	/** 32 bytes for the one purpose that `info` names, such as signing cookies. Changes with the current master key. */
	deriveKey(info: string): Buffer {
		return derive(this.#master, `gangway derived: ${info}`);
	}

	#key(id: string): Buffer {
		const key = this.#keys.get(id);
		if (key === undefined) {
			throw new StoreError("wrong_master_key", "a stored secret was sealed with a master key that is not configured");
		}
		return key;
	}
}

/** Says nothing about the key, and differs for each. */
function keyId(masterKey: Buffer): string {
	return derive(masterKey, "gangway key id").subarray(0, 8).toString("hex");
}

function derive(masterKey: Buffer, info: string): Buffer {
	if (masterKey.length !== KEY_BYTES) throw new TypeError(`a master key has ${KEY_BYTES} bytes`);
	return Buffer.from(hkdfSync("sha256", masterKey, "", info, KEY_BYTES));
}

/** JSON, because it keeps the parts apart: ("a", "bc") and ("ab", "c") must not be the same place. */
function associatedData(id: string, { table, column, row }: SealedPlace): Buffer {
	return Buffer.from(JSON.stringify([VERSION, id, table, column, row]));
}

function damaged({ table, column, row }: SealedPlace, cause?: unknown): StoreError {
	const where = new Error(`cannot open ${table}.${column} of ${row}`, { cause });
	return new StoreError("damaged", "a stored secret is damaged or was moved from its place", { cause: where });
}
