export function median(values: readonly number[]): number {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = sorted.length >> 1;
	if (sorted.length === 0) return Number.NaN;
	return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** To another's values, pair by pair: median, smallest and largest ratio. */
export type Ratio = readonly [median: number, low: number, high: number];

export function ratioOf(values: readonly number[], base: readonly number[]): Ratio | undefined {
	const ratios = values.map((value, i) => value / base[i]!).filter(Number.isFinite);
	return ratios.length === 0 ? undefined : [median(ratios), Math.min(...ratios), Math.max(...ratios)];
}

/** The median of what each value has more than the other of its pair. */
export function differenceOf(values: readonly number[], base: readonly number[]): number {
	return median(values.map((value, i) => value - base[i]!).filter(Number.isFinite));
}
