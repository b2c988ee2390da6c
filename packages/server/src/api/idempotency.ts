import type { Logger } from "pino";
import { InvalidError } from "../errors.js";
import type { Answer, Claim, CreateOptions, IdempotencyKey, IdempotencyStore } from "./services.js";

/** Longer keys are refused: clients send UUIDs. */
const maxKeyLength = 256;

/** One POST that may be repeated. */
interface Call {
	readonly apiKeyId: string;
	/** The client's `x-request-id`; undefined when it sent none, and then nothing is remembered. */
	readonly key: string | undefined;
	/** Method and path. */
	readonly route: string;
}

export interface Work {
	/** Does the call. A create passes `options` on, so that its devbox is noted in the transaction that makes it. */
	run(options: CreateOptions): Promise<Answer>;
	/** The answer for the devbox of a call that was cut off, by a crash, after it had made it. */
	recover?(devboxId: string): Promise<Answer>;
}

/**
 * Makes a POST with the same key happen once: a repeat gets the first answer, one that comes while the first is still at
 * work waits for it, and a call that failed is forgotten, so that a repeat tries again.
 *
 * What is at work is known in this process only: one daemon per store. An unfinished entry that is not at work here was
 * left by a crash and is taken over.
 */
export class Idempotency {
	readonly #store: IdempotencyStore;
	readonly #log: Logger;
	readonly #atWork = new Map<string, { route: string; answer: Promise<Answer> }>();

	constructor(store: IdempotencyStore, log: Logger) {
		this.#store = store;
		this.#log = log;
	}

	async once(call: Call, work: Work): Promise<Answer> {
		const { apiKeyId, key, route } = call;
		if (!key) return work.run({});
		if (key.length > maxKeyLength) {
			throw new InvalidError("x-request-id", `must have at most ${maxKeyLength} characters`);
		}
		const name = `${apiKeyId} ${key}`;
		for (;;) {
			const first = this.#atWork.get(name);
			if (!first) return this.#begin(name, { apiKeyId, key }, route, work);
			requireSameRoute(first.route, route);
			const answer = await first.answer.catch(() => undefined);
			if (answer) return answer;
		}
	}

	/** Resolves when nothing is at work any more: calls go on when their client has gone. */
	async idle(): Promise<void> {
		while (this.#atWork.size > 0) {
			await Promise.allSettled([...this.#atWork.values()].map(({ answer }) => answer));
		}
	}

	#begin(name: string, key: IdempotencyKey, route: string, work: Work): Promise<Answer> {
		const answer = this.#first(key, route, work).finally(() => this.#atWork.delete(name));
		this.#atWork.set(name, { route, answer });
		return answer;
	}

	async #first(key: IdempotencyKey, route: string, work: Work): Promise<Answer> {
		const claim = await this.#store.claim(key, route);
		if (claim.state !== "new") requireSameRoute(claim.route, route);
		if (claim.state === "finished") return claim.answer;
		const answer = await this.#perform(key, claim, work);
		// A repeat of an answer that could not be kept finds the devbox by its attachment, or does harmless work again.
		await this.#store.finish(key, answer).catch((error) => this.#log.error({ err: error }, "an answer was not kept"));
		return answer;
	}

	async #perform(key: IdempotencyKey, claim: Claim, work: Work): Promise<Answer> {
		if (claim.state === "unfinished" && claim.devboxId !== null && work.recover) return work.recover(claim.devboxId);
		try {
			return await work.run({ inTransaction: (trx, devboxId) => this.#store.attach(trx, key, devboxId) });
		} catch (error) {
			await this.#store
				.release(key)
				.catch((cause) => this.#log.error({ err: cause }, "a failed call was not forgotten"));
			throw error;
		}
	}
}

function requireSameRoute(first: string, now: string): void {
	if (first !== now) throw new InvalidError("x-request-id", `was used for ${first} before; each call needs its own`);
}
