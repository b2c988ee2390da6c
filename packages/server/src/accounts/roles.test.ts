import { expect, test } from "vitest";
import { type Action, can, demand, type Role } from "./roles.js";

test.each<[Role, Action[]]>([
	["admin", ["read", "use", "enter", "administer"]],
	["member", ["read", "use", "enter"]],
	["viewer", ["read"]],
])("%s may %j, and nothing else", (role, allowed) => {
	const all: Action[] = ["read", "use", "enter", "administer"];
	expect(all.filter((action) => can({ role }, action))).toEqual(allowed);
});

test("an unknown role may do nothing", () => {
	expect(can({ role: "owner" as Role }, "read")).toBe(false);
	expect(can({ role: "constructor" as Role }, "read")).toBe(false);
});

test("a refusal says which role it takes", () => {
	expect(() => demand({ role: "member" }, "enter")).not.toThrow();
	expect(() => demand({ role: "viewer" }, "enter")).toThrow(
		expect.objectContaining({
			code: "forbidden",
			message: "the role viewer does not allow this: it needs admin or member",
		}),
	);
});
