import { expect, it } from "vitest";
import { identify, isAlive, parseStat } from "./process.js";

it("reads a command with blanks and parentheses", () => {
	const rest = `S ${Array.from({ length: 18 }, (_, index) => index + 4).join(" ")} 4711 0 0`;
	expect(parseStat(`12 (a) b) ${rest}`)).toEqual({ pid: 12, state: "S", startTime: "4711" });
	expect(parseStat("")).toBeUndefined();
});

it("tells a process from another one that got its number", async () => {
	const me = (await identify(process.pid))!;
	expect(await isAlive(me)).toBe(true);
	expect(await isAlive({ ...me, startTime: "1" })).toBe(false);
	expect(await identify(2 ** 30)).toBeUndefined();
});
