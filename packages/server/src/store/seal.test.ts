import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Seal, type SealedPlace } from "./seal.js";

const place: SealedPlace = { table: "tunnels", column: "token_sealed", row: "dbx_1" };
const text = () => fc.string({ unit: "binary" });
const places = () => fc.record({ table: text(), column: text(), row: text() });
const key = Buffer.alloc(32, 7);

function codeOf(work: () => unknown): string {
	try {
		work();
	} catch (error) {
		return (error as { code: string }).code;
	}
	return "opened";
}

test("opens what it sealed, in its place", () => {
	const seal = new Seal(key);
	fc.assert(fc.property(text(), places(), (plain, at) => seal.open(seal.seal(plain, at), at) === plain));
});

test("opens in no other place", () => {
	const seal = new Seal(key);
	fc.assert(
		fc.property(places(), places(), (a, b) => {
			fc.pre(JSON.stringify(a) !== JSON.stringify(b));
			return codeOf(() => seal.open(seal.seal("secret", a), b)) === "damaged";
		}),
	);
});

test.each([
	["table", { ...place, table: "devboxes" }],
	["column", { ...place, column: "key" }],
	["row", { ...place, row: "dbx_2" }],
	["border between column and row", { ...place, column: "token_sealeddbx", row: "_1" }],
])("another %s is refused", (_, other) => {
	const seal = new Seal(key);
	expect(codeOf(() => seal.open(seal.seal("secret", place), other))).toBe("damaged");
});

test("no changed, cut or longer text opens", () => {
	const seal = new Seal(key);
	const sealed = seal.seal("secret", place);
	fc.assert(
		fc.property(fc.nat(sealed.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
			fc.pre(sealed[at] !== character);
			const changed = sealed.slice(0, at) + character + sealed.slice(at + 1);
			return codeOf(() => seal.open(changed, place)) !== "opened";
		}),
	);
	for (let length = 0; length < sealed.length; length++) {
		expect(codeOf(() => seal.open(sealed.slice(0, length), place))).not.toBe("opened");
	}
	for (const more of [`${sealed}A`, `${sealed}=`, `${sealed}.`, ` ${sealed}`, `${sealed}\n`]) {
		expect(codeOf(() => seal.open(more, place))).not.toBe("opened");
	}
});

test("another master key opens nothing", () => {
	const sealed = new Seal(key).seal("secret", place);
	expect(codeOf(() => new Seal(randomBytes(32)).open(sealed, place))).toBe("wrong_master_key");
});

test("an error shows neither the place nor the text to users", () => {
	const sealed = new Seal(key).seal("secret", place);
	expect(() => new Seal(key).open(sealed, { ...place, row: "dbx_2" })).toThrow(
		expect.objectContaining({ message: "a stored secret is damaged or was moved from its place" }),
	);
});

test("sealing twice gives two texts, neither with the secret in it", () => {
	const seal = new Seal(key);
	const [first, second] = [seal.seal("secret", place), seal.seal("secret", place)];
	expect(first).not.toBe(second);
	expect(first).toMatch(new RegExp(`^v1\\.${seal.keyId}\\.[A-Za-z0-9_-]+$`));
	expect(Buffer.from(first.split(".")[2] ?? "", "base64url").includes("secret")).toBe(false);
});

test("after a rotation the old key still opens and the new one seals", () => {
	const [oldKey, newKey] = [randomBytes(32), randomBytes(32)];
	const before = new Seal(oldKey).seal("secret", place);
	const rotated = new Seal([newKey, oldKey]);
	expect(rotated.open(before, place)).toBe("secret");
	expect(new Seal(newKey).open(rotated.seal("secret", place), place)).toBe("secret");
});

test("derived keys differ by purpose and by master key, and are the same again", () => {
	const seal = new Seal(key);
	expect(seal.deriveKey("cookies")).toHaveLength(32);
	expect(seal.deriveKey("cookies")).toEqual(new Seal(key).deriveKey("cookies"));
	expect(seal.deriveKey("cookies")).not.toEqual(seal.deriveKey("links"));
	expect(seal.deriveKey("cookies")).not.toEqual(new Seal(randomBytes(32)).deriveKey("cookies"));
});
