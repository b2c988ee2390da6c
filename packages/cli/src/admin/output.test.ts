import { expect, test, vi } from "vitest";
import { printFields, printRows } from "./output.js";

/** What a terminal gets of a name that somebody chose. */
function printed(print: () => void): string {
	const log = vi.spyOn(console, "log").mockImplementation(() => {});
	print();
	const text = log.mock.calls.flat().join("\n");
	log.mockRestore();
	return text;
}

const name = "a\u001b]0;owned\u0007\u009b31m\u202eb";
const shown = "a\\u001b]0;owned\\u0007\\u009b31m\\u202eb";

test("a name commands no terminal", () => {
	const rows = [{ name }];
	expect(printed(() => printRows("text", {}, rows, ["name"]))).toBe(`NAME\n${shown}`);
	expect(printed(() => printFields("text", { name }))).toBe(`name  ${shown}`);
	const json = printed(() => printRows("json", { rows }, rows, ["name"]));
	expect(json).toContain(shown);
	expect(JSON.parse(json)).toEqual({ rows });
});
