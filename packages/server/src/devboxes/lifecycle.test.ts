import fc from "fast-check";
import { expect, test } from "vitest";
import { canFollow, isEnded, isStarting, type Status, statuses } from "./lifecycle.js";

/** Any walk that the machine allows, from creation. */
const walk = fc.array(fc.nat(100), { maxLength: 30 }).map((choices) => {
	const path: Status[] = ["provisioning"];
	for (const choice of choices) {
		const nexts = statuses.filter((to) => canFollow(path.at(-1)!, to));
		if (nexts.length === 0) break;
		path.push(nexts[choice % nexts.length]!);
	}
	return path;
});

test("shutdown can be reached from everywhere and left to nowhere", () => {
	for (const status of statuses) {
		expect(canFollow(status, "shutdown")).toBe(status !== "shutdown");
		expect(canFollow("shutdown", status)).toBe(false);
	}
});

test("a failure is left for shutdown only", () => {
	expect(statuses.filter((to) => canFollow("failure", to))).toEqual(["shutdown"]);
});

test("on every walk a box runs only after it was initialised or resumed, and is suspended only after it ran", () => {
	fc.assert(
		fc.property(walk, (path) => {
			path.forEach((status, i) => {
				const before = path[i - 1];
				if (status === "running") expect(["initializing", "resuming"]).toContain(before);
				if (status === "suspended") expect(path.slice(0, i)).toContain("running");
				if (status === "resuming") expect(before).toBe("suspended");
			});
		}),
	);
});

test("a disk that was used once is lost only by failure while running or by shutdown, never by a resume", () => {
	expect(canFollow("resuming", "failure")).toBe(false);
	expect(canFollow("suspended", "failure")).toBe(false);
});

test("what is starting can come to run, and what has ended cannot", () => {
	for (const status of statuses) {
		if (isEnded(status)) expect(canFollow(status, "running")).toBe(false);
		if (isStarting(status) && status !== "provisioning") expect(canFollow(status, "running")).toBe(true);
	}
});

test("nothing follows itself", () => {
	for (const status of statuses) expect(canFollow(status, status)).toBe(false);
});
