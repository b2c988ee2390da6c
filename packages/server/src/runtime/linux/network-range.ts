/** IPv4 arithmetic of an installation's network. Pure. */

/** A block of addresses; `bits` is the length of its prefix. */
export interface Block {
	readonly base: number;
	readonly bits: number;
}

/** 4096 addresses: the first is the gateway on every link, the last is left out, each box has one of the others. */
export const blockBits = 20;
export const firstHost = 2;
export const lastHost = 2 ** (32 - blockBits) - 2;

/** Private ranges (RFC 1918) in order of preference: the far end of 10/8 is where other tools seldom are. */
const pools = ["10.192.0.0/10", "172.16.0.0/12", "192.168.0.0/16"].map((text) => parseBlock(text)!);

export function parseBlock(text: string): Block | undefined {
	const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\/(\d+))?$/.exec(text);
	if (!match) return undefined;
	const [a, b, c, d] = match.slice(1, 5).map(Number) as [number, number, number, number];
	const bits = match[5] === undefined ? 32 : Number(match[5]);
	return { base: ((a * 256 + b) * 256 + c) * 256 + d, bits };
}

export function formatAddress(address: number): string {
	return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

export function formatBlock({ base, bits }: Block): string {
	return `${formatAddress(base)}/${bits}`;
}

export function overlap(a: Block, b: Block): boolean {
	const size = 2 ** (32 - Math.min(a.bits, b.bits));
	return Math.floor(a.base / size) === Math.floor(b.base / size);
}

/** A block that overlaps with none of `taken`; `random` is in [0, 1). Undefined when there is none. */
export function pickBlock(taken: readonly Block[], random: number): Block | undefined {
	for (const pool of pools) {
		const count = 2 ** (blockBits - pool.bits);
		const start = Math.floor(random * count);
		for (let step = 0; step < count; step++) {
			const index = (start + step) % count;
			const block = { base: pool.base + index * 2 ** (32 - blockBits), bits: blockBits };
			if (!taken.some((other) => overlap(block, other))) return block;
		}
	}
	return undefined;
}
