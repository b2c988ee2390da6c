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

test("times are dates for people, milliseconds for programs", () => {
	const key = { id: "key_1", create_time_ms: 0 };
	expect(printed(() => printFields("text", key))).toBe("id           key_1\ncreate_time  1970-01-01T00:00:00.000Z");
	expect(printed(() => printRows("text", {}, [key], ["create_time_ms"]))).toBe("CREATE_TIME\n1970-01-01T00:00:00.000Z");
	expect(printed(() => printFields("json", key))).toBe(JSON.stringify(key, null, "\t"));
});
