/** How many there are, by key. What there is none of takes no memory. */
export class Counts {
	readonly #counts = new Map<string, number>();

	/** Keys that there is something of. */
	get size(): number {
		return this.#counts.size;
	}

	of(key: string): number {
		return this.#counts.get(key) ?? 0;
	}

	add(key: string): void {
		this.#counts.set(key, this.of(key) + 1);
	}

	remove(key: string): void {
		const left = this.of(key) - 1;
		if (left > 0) this.#counts.set(key, left);
		else this.#counts.delete(key);
	}
}
