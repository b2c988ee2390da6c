import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Timed, Wheel } from "./wheel.js";

class Probe extends Timed {
	readonly expirations: number[] = [];
	constructor(private readonly act: () => void = () => {}) {
		super();
	}
	override expired(): void {
		this.expirations.push(performance.now());
		this.act();
	}
}

describe("the wheel", () => {
	beforeEach(() => {
		vi.useFakeTimers();
	});
	afterEach(() => {
		vi.useRealTimers();
	});

	it("never fires early, and at most two ticks late, near and far", () => {
		const wheel = new Wheel(500);
		const began = performance.now();
		const times = [1, 499, 500, 501, 30_000, 127_500, 128_000, 128_500, 300_000, 1_000_000];
		const probes = times.map((ms) => {
			const probe = new Probe();
			wheel.set(probe, ms);
			return probe;
		});
		vi.advanceTimersByTime(1_100_000);
		probes.forEach((probe, i) => {
			expect(probe.expirations).toHaveLength(1);
			const late = probe.expirations[0]! - began - times[i]!;
			expect(late).toBeGreaterThanOrEqual(0);
			expect(late).toBeLessThanOrEqual(1000);
		});
		wheel.close();
	});

	it("follows a deadline that moves, and forgets one that is taken away", () => {
		const wheel = new Wheel(10);
		const [later, sooner, never, removed] = [new Probe(), new Probe(), new Probe(), new Probe()];
		for (const probe of [later, sooner, never, removed]) wheel.set(probe, 1000);
		vi.advanceTimersByTime(500);
		wheel.set(later, 1000);
		wheel.set(sooner, 100);
		wheel.set(never, 0);
		wheel.remove(removed);
		vi.advanceTimersByTime(150);
		expect(sooner.expirations).toHaveLength(1);
		vi.advanceTimersByTime(600);
		expect(later.expirations).toHaveLength(0);
		vi.advanceTimersByTime(10_000);
		expect([later, sooner, never, removed].map(({ expirations }) => expirations.length)).toEqual([1, 1, 0, 0]);
		wheel.close();
	});

	it("lets an expiration set and remove others, and itself", () => {
		const wheel = new Wheel(10);
		const other = new Probe();
		const again: Probe = new Probe(() => {
			wheel.remove(other);
			if (again.expirations.length < 3) wheel.set(again, 10);
		});
		wheel.set(other, 20);
		wheel.set(again, 20);
		vi.advanceTimersByTime(1000);
		expect(again.expirations).toHaveLength(3);
		expect(other.expirations).toHaveLength(0);
		wheel.close();
		wheel.close();
		wheel.set(other, 10);
		vi.advanceTimersByTime(1000);
		expect(other.expirations).toHaveLength(0);
	});
});
