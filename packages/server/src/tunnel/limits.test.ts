import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Admission, Limiter, type RequestLimits } from "./limits.js";

/** A limiter with a clock that stands still unless told. */
function limiter(limits: Partial<RequestLimits>) {
	const clock = { now: 0 };
	return { clock, limiter: new Limiter(limits, () => clock.now) };
}

/** How many of so many requests get in. */
function admitted(limits: Limiter, requests: number, address = "192.0.2.1"): number {
	return Array.from({ length: requests }, () => limits.enter(address)).filter((admission) => admission !== undefined)
		.length;
}

describe("requests under way", () => {
	test("of one address are limited, of others not", () => {
		const { limiter: limits } = limiter({ addressRequests: 2 });
		expect(admitted(limits, 5, "192.0.2.1")).toBe(2);
		expect(admitted(limits, 5, "192.0.2.2")).toBe(2);
		expect(limits.refused.address_requests).toBe(6);
	});

	test("of one tunnel are limited, whoever sends them", () => {
		const { limiter: limits } = limiter({ tunnelRequests: 1 });
		const [first, second] = [limits.enter("192.0.2.1")!, limits.enter("192.0.2.2")!];
		expect(limits.enterTunnel(first, "key")).toBe(true);
		expect(limits.enterTunnel(second, "key")).toBe(false);
		expect(limits.enterTunnel(second, "other")).toBe(true);
		expect(limits.refused.tunnel_requests).toBe(1);
	});

	test("make room when they are over, once each", () => {
		const { limiter: limits } = limiter({ addressRequests: 2, tunnelRequests: 2 });
		const [first, second] = [limits.enter("192.0.2.1")!, limits.enter("192.0.2.1")!];
		for (const admission of [first, second]) limits.enterTunnel(admission, "key");
		limits.leave(first);
		limits.leave(first);
		expect(admitted(limits, 2)).toBe(1);
		const other = limits.enter("192.0.2.2")!;
		expect(limits.enterTunnel(other, "key")).toBe(true);
		expect(limits.enterTunnel(limits.enter("192.0.2.2")!, "key")).toBe(false);
	});

	test("of a tunnel count a held one, which asks again, once", () => {
		const { limiter: limits } = limiter({ tunnelRequests: 1, tunnelRate: 1 });
		const held = limits.enter("192.0.2.1")!;
		const enter = (key: string) => limits.enterTunnel(limits.enter("192.0.2.2")!, key);
		for (let i = 0; i < 20; i++) expect(limits.enterTunnel(held, "key")).toBe(true);
		expect(enter("key")).toBe(false);
		expect(limits.enterTunnel(held, "other")).toBe(true);
		expect(enter("key")).toBe(true);
		expect(enter("other")).toBe(false);
	});

	test("of an unknown address are not limited", () => {
		const { limiter: limits } = limiter({ addressRequests: 1, addressRate: 1 });
		for (let i = 0; i < 100; i++) expect(limits.enter(undefined)).toBeDefined();
	});

	test("fall back to nothing, whatever comes and goes in whatever order", () => {
		const step = fc.record({
			address: fc.constantFrom("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", undefined),
			tunnel: fc.constantFrom("keya", "keyb", undefined),
			again: fc.constantFrom("keya", "keyb", undefined),
			leave: fc.nat(20),
			later: fc.nat(2_000),
		});
		const limits = fc.record({
			addressRequests: fc.nat(3),
			addressRate: fc.nat(2),
			tunnelRequests: fc.nat(3),
			tunnelRate: fc.nat(2),
		});
		fc.assert(
			fc.property(limits, fc.array(step, { maxLength: 60 }), (given, steps) => {
				const { clock, limiter: limits } = limiter(given);
				const admissions: Admission[] = [];
				const most = (of: "client" | "tunnel") => {
					const keys = admissions.map((admission) => admission[of]).filter((key) => key !== undefined);
					return Math.max(0, ...keys.map((key) => keys.filter((other) => other === key).length));
				};
				for (const { address, tunnel, again, leave, later } of steps) {
					clock.now += later;
					const admission = limits.enter(address);
					if (admission) admissions.push(admission);
					for (const key of [tunnel, again]) {
						if (admission && key && !limits.enterTunnel(admission, key)) limits.leave(admission);
					}
					if (given.addressRequests > 0) expect(most("client")).toBeLessThanOrEqual(given.addressRequests);
					if (given.tunnelRequests > 0) expect(most("tunnel")).toBeLessThanOrEqual(given.tunnelRequests);
					const gone = admissions[leave];
					if (gone) limits.leave(gone);
				}
				for (const admission of admissions) limits.leave(admission);
				expect(limits.underWay).toBe(0);
			}),
		);
	});
});

describe("requests per second", () => {
	test.each([1, 3, 7, 1000])("at %i, ten seconds' worth may come at once, then one at a time", (rate) => {
		const { clock, limiter: limits } = limiter({ addressRate: rate });
		expect(admitted(limits, 20 * rate)).toBe(10 * rate);
		clock.now += 1000 / rate;
		expect(admitted(limits, 5)).toBe(1);
		clock.now += 10_000;
		expect(admitted(limits, 20 * rate)).toBe(10 * rate);
		expect(limits.refused.address_rate).toBe(20 * rate + 4);
	});

	test("never exceed the rate and one burst", () => {
		const rate = 5;
		fc.assert(
			fc.property(fc.array(fc.nat(500), { minLength: 50, maxLength: 500 }), (gaps) => {
				const { clock, limiter: limits } = limiter({ addressRate: rate });
				let passed = 0;
				for (const gap of gaps) {
					clock.now += gap;
					passed += admitted(limits, 3);
				}
				expect(passed).toBeLessThanOrEqual((rate * clock.now) / 1000 + 10 * rate + 1);
			}),
		);
	});

	test("are counted for what has ended too", () => {
		const { limiter: limits } = limiter({ tunnelRate: 1 });
		const passed = Array.from({ length: 20 }, (_, i) => {
			const admission = limits.enter(`192.0.2.${i}`)!;
			const may = limits.enterTunnel(admission, "key");
			limits.leave(admission);
			return may;
		});
		expect(passed.filter(Boolean)).toHaveLength(10);
		expect(limits.refused.tunnel_rate).toBe(10);
	});

	test("of more addresses than are remembered are still limited for the latest ones", () => {
		const { limiter: limits } = limiter({ addressRate: 1 });
		for (let i = 0; i < 100_000; i++) limits.leave(limits.enter(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)!);
		expect(admitted(limits, 20, "192.0.2.1")).toBe(10);
	});
});

test("a limiter without limits counts nothing", () => {
	const { limiter: limits } = limiter({});
	const admission = limits.enter("192.0.2.1")!;
	expect(limits.enterTunnel(admission, "key")).toBe(true);
	expect(limits.underWay).toBe(0);
});
