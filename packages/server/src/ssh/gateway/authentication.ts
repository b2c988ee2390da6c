import { createHash } from "node:crypto";
import ssh2, { type AuthContext, type Connection, type PublicKeyAuthContext } from "ssh2";
import type { Denial, Grant, PresentedKey, Registers } from "./access.js";
import { authorize, devboxIdOfUsername } from "./authorize.js";

/** OpenSSH's agents may offer a good many keys before the right one. The first is "none", to learn what there is. */
const maxAttempts = 21;
const keyTypes = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

export interface AuthenticationEvents {
	/** Called right before ssh2's "ready". */
	granted(grant: Grant): void;
	tooManyAttempts(): void;
	/** The question could not be answered: nobody is let in then. */
	failed(error: unknown): void;
}

/** What was tried and refused on one connection. */
export interface RefusedAttempts {
	/** As the client wrote it, cut off where it is longer than any that is good. */
	readonly username: string;
	readonly denials: readonly Denial[];
	/** `SHA256:…` of the last key. */
	readonly fingerprint: string | undefined;
}

/** The authentication of one connection: by a public key and its signature, and by nothing else (RFC 4252, section 7). */
export class Authentication {
	readonly #registers: Registers;
	readonly #events: AuthenticationEvents;
	readonly #denials = new Set<Denial>();
	#attempts = 0;
	#username = "";
	#fingerprint: string | undefined;

	constructor(connection: Connection, registers: Registers, events: AuthenticationEvents) {
		this.#registers = registers;
		this.#events = events;
		connection.on("authentication", (context) => this.#attempt(context));
	}

	/** Undefined if no key was tried. */
	get refused(): RefusedAttempts | undefined {
		if (this.#denials.size === 0) return undefined;
		return { username: this.#username, denials: [...this.#denials], fingerprint: this.#fingerprint };
	}

	#attempt(context: AuthContext): void {
		if (++this.#attempts > maxAttempts) {
			this.#events.tooManyAttempts();
			return;
		}
		// ssh2 lets a question through that ends before its key.
		if (context.method !== "publickey" || context.key.data === undefined) {
			context.reject(["publickey"]);
			return;
		}
		this.#tryKey(context).catch((error: unknown) => this.#events.failed(error));
	}

	async #tryKey(context: PublicKeyAuthContext): Promise<void> {
		this.#username = context.username.slice(0, 64);
		const key = { type: context.key.algo, blob: context.key.data };
		this.#fingerprint = fingerprintOf(key.blob);
		const signature = checkSignature(context);
		const outcome = await authorize(this.#registers, key, devboxIdOfUsername(context.username));
		if (signature !== "good" && signature !== "absent") this.#deny(context, signature);
		else if (typeof outcome === "string") this.#deny(context, outcome);
		else {
			if (signature === "good") this.#events.granted(outcome);
			context.accept();
		}
	}

	#deny(context: AuthContext, denial: Denial): void {
		this.#denials.add(denial);
		context.reject(["publickey"]);
	}
}

/** Before it signs, a client may ask whether a key would do; that is `absent`. */
function checkSignature(context: PublicKeyAuthContext): "good" | "absent" | Denial {
	const { key, signature, blob, hashAlgo } = context;
	// Without a hash an RSA key signs by SHA-1 (`ssh-rsa`, RFC 4253), which can be forged.
	if (!keyTypes.includes(key.algo) || (key.algo === "ssh-rsa" && hashAlgo === undefined)) return "unsupported_key";
	const parsed = ssh2.utils.parseKey(key.data);
	// The signature is bound to a key of the type that the client names.
	if (parsed instanceof Error || parsed.type !== key.algo) return "unsupported_key";
	if (signature === undefined || blob === undefined) return "absent";
	return parsed.verify(blob, signature, hashAlgo) === true ? "good" : "bad_signature";
}

function fingerprintOf(blob: PresentedKey["blob"]): string {
	return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}
