import { setTimeout } from "node:timers/promises";

/**
 * Asks until the answer is one (neither undefined nor false), and returns it. For what tells nobody when it happens.
 * Errors of `ask` count as "not yet"; the last one is told when the time is over.
 */
export async function until<T>(
	what: string,
	ask: () => Promise<T | undefined | false> | T | undefined | false,
	withinMs = 15_000,
): Promise<T> {
	const deadline = Date.now() + withinMs;
	for (;;) {
		let problem: unknown;
		try {
			const answer = await ask();
			if (answer !== undefined && answer !== false) return answer;
		} catch (error) {
			problem = error;
		}
		if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`, { cause: problem });
		await setTimeout(20);
	}
}
