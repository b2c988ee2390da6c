import { expect, test } from "vitest";
import { takeParameter } from "./query.js";

test.each<[string, string | undefined, string]>([
	["/?t=x", "x", "/"],
	["/a/b?t=x", "x", "/a/b"],
	["/?a=1&t=x&b=2", "x", "/?a=1&b=2"],
	["/?t=x&a=%20+%zz&&b", "x", "/?a=%20+%zz&&b"],
	["/?a&t=x", "x", "/?a"],
	["/?t=x%2By%20z", "x+y z", "/"],
	["/?t=x+y", "x+y", "/"],
	["/?t=x=y", "x=y", "/"],
	["/?t=%zz", "%zz", "/"],
	["/?t=", "", "/"],
	["/?t", "", "/"],
	["/?t=x&t=y", "x", "/"],
	["/?a=1?t=x", undefined, "/?a=1?t=x"],
	["/?T=x", undefined, "/?T=x"],
	["/?tt=x", undefined, "/?tt=x"],
	["/?%74=x&a=1", "x", "/?a=1"],
	["/?t=x&%74=y&a=1", "x", "/?a=1"],
	["/?%zz=x", undefined, "/?%zz=x"],
	["/t=x", undefined, "/t=x"],
	["/", undefined, "/"],
	["/?", undefined, "/?"],
	["//evil.example?t=x", "x", "//evil.example"],
])("of %j: %j, leaving %j", (target, value, rest) => {
	expect(takeParameter(target, "t")).toEqual({ value, rest });
});
