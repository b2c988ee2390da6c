/** The candidate that a slip of the fingers turns into `text`; undefined when none is near. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
	if (text.length > 100) return undefined;
	const limit = Math.min(3, Math.floor(text.length / 3));
	let best: { candidate: string; distance: number } | undefined;
	for (const candidate of candidates) {
		const far = distance(text, candidate);
		if (far <= limit && (best === undefined || far < best.distance)) best = { candidate, distance: far };
	}
	return best?.candidate;
}

/** Levenshtein's distance: insertions, deletions and replacements, in one row. */
function distance(a: string, b: string): number {
	let row = Array.from({ length: b.length + 1 }, (_, index) => index);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) {
			const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
			next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
		}
		row = next;
	}
	return row[b.length]!;
}
