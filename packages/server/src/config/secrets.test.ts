import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { isApiKey, parseMasterKeys } from "./secrets.js";

test("a master key is base64, base64url or hex of 32 bytes", () => {
	const key = Buffer.from(`${"fb".repeat(31)}ff`, "hex");
	for (const text of [
		key.toString("base64"),
		key.toString("base64").replace("=", ""),
		key.toString("base64url"),
		key.toString("hex"),
		key.toString("hex").toUpperCase(),
		` ${key.toString("base64")}\n`,
	]) {
		expect(parseMasterKeys(text)).toEqual([key]);
	}
});

test("several keep their order", () => {
	const keys = [randomBytes(32), randomBytes(32)];
	expect(parseMasterKeys(keys.map((key) => key.toString("base64")).join(", "))).toEqual(keys);
});

test.each([
	"",
	",",
	"password",
	"ab".repeat(31),
	"ab".repeat(33),
	randomBytes(31).toString("base64"),
	randomBytes(33).toString("base64"),
])("%j is no master key", (text) => {
	expect(parseMasterKeys(text)).toBeUndefined();
});

test("an API key is long and fits a header", () => {
	expect(isApiKey("a".repeat(20))).toBe(true);
	expect(isApiKey("gw_AZaz09._~+/-0123==")).toBe(true);
	for (const text of ["a".repeat(19), "a".repeat(257), `${"a".repeat(20)} b`, `${"a".repeat(20)}\n`, "é".repeat(20)]) {
		expect(isApiKey(text)).toBe(false);
	}
});
