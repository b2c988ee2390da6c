import fc from "fast-check";
import { expect, it } from "vitest";
import { blockBits, formatAddress, formatBlock, overlap, parseBlock, pickBlock } from "./network-range.js";

const block = (text: string) => parseBlock(text)!;

it("reads and writes addresses", () => {
	expect(formatBlock(block("10.192.16.0/20"))).toBe("10.192.16.0/20");
	expect(block("192.0.2.1")).toEqual({ base: 0xc0000201, bits: 32 });
	expect(formatAddress(0xffffffff)).toBe("255.255.255.255");
	expect(parseBlock("default")).toBeUndefined();
	expect(parseBlock("fd00::/64")).toBeUndefined();
});

it("knows which blocks overlap", () => {
	expect(overlap(block("10.0.0.0/8"), block("10.200.0.0/20"))).toBe(true);
	expect(overlap(block("10.200.3.4"), block("10.200.0.0/20"))).toBe(true);
	expect(overlap(block("10.200.16.0/20"), block("10.200.0.0/20"))).toBe(false);
});

it("picks a block of private addresses that is free", () => {
	const route = fc
		.record({ base: fc.nat(0xffffffff), bits: fc.integer({ min: 9, max: 32 }) })
		.map(({ base, bits }) => ({ base: base - (base % 2 ** (32 - bits)), bits }));
	fc.assert(
		fc.property(fc.array(route), fc.double({ min: 0, max: 0.999999, noNaN: true }), (taken, random) => {
			const picked = pickBlock(taken, random);
			if (!picked) return;
			expect(picked.bits).toBe(blockBits);
			expect(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].some((text) => overlap(block(text), picked))).toBe(true);
			expect(taken.some((other) => overlap(other, picked))).toBe(false);
		}),
	);
});

it("goes elsewhere when a route takes all of 10/8, and says when nothing is left", () => {
	expect(formatBlock(pickBlock([block("10.0.0.0/8")], 0)!)).toBe("172.16.0.0/20");
	const all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(block);
	expect(pickBlock(all, 0.5)).toBeUndefined();
});
