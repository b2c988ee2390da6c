import type { Logger } from "pino";
import type { AuditSink } from "../audit/index.js";
import { UnavailableError } from "../errors.js";
import type { Actor } from "./devbox.js";
import { generateEcdsaKeyPair } from "./keys.js";
import type { DevboxRepository } from "./repository.js";
import type { Supervisor } from "./supervisor.js";

interface KeyRotationOptions {
	readonly repository: DevboxRepository;
	readonly supervisor: Supervisor;
	readonly audit: AuditSink;
	readonly log: Logger;
	/** Milliseconds until rotations that failed are tried again. Default: a minute. */
	readonly retryMs?: number;
}

/** Gives devboxes other SSH pairs: the former private key opens nothing from then on, whoever has it. */
export class KeyRotation {
	readonly #options: KeyRotationOptions;
	/** What `rotateExposed` does, one after another. */
	#work: Promise<void> = Promise.resolve();
	#retry: NodeJS.Timeout | undefined;
	#closed = false;

	constructor(options: KeyRotationOptions) {
		this.#options = options;
	}

	/**
	 * False for a box that has ended. Throws `UnavailableError` when the box runs and could not be told: then it still takes
	 * the former key, and is told as soon as it can be.
	 */
	async rotate(devboxId: string, actor?: Actor): Promise<boolean> {
		const { repository, supervisor, audit, log } = this.#options;
		if (!(await repository.replaceKey(devboxId, await generateEcdsaKeyPair()))) return false;
		audit.record({ action: "devbox_key.rotated", actor, devboxId });
		if (!(await supervisor.authorize(devboxId))) {
			throw new UnavailableError("the devbox could not be given its new SSH key; this is tried again");
		}
		log.info({ devboxId }, "SSH key rotated");
		return true;
	}

	/** Rotates the key of every box that somebody has had who may not enter it any more. Never rejects. */
	rotateExposed(): Promise<void> {
		this.#work = this.#work.then(() => this.#rotateAll()).catch((error: unknown) => this.#failed(error));
		return this.#work;
	}

	/** Resolves when nothing is under way any more. */
	async close(): Promise<void> {
		this.#closed = true;
		clearTimeout(this.#retry);
		await this.#work;
	}

	async #rotateAll(): Promise<void> {
		if (this.#closed) return;
		for (const id of await this.#options.repository.exposedDevboxes()) {
			// One box that cannot be told must not keep the others from it.
			await this.rotate(id).catch((error: unknown) => this.#failed(error, id));
		}
	}

	#failed(error: unknown, devboxId?: string): void {
		const { log } = this.#options;
		log.error({ err: error, devboxId }, "the SSH key of somebody who left could not be rotated; this is tried again");
		this.#later();
	}

	#later(): void {
		if (this.#closed) return;
		clearTimeout(this.#retry);
		this.#retry = setTimeout(() => void this.rotateExposed(), this.#options.retryMs ?? 60_000);
		this.#retry.unref();
	}
}
