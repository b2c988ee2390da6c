import { expect, test } from "vitest";
import { nearest } from "./nearest.js";

test.each([
	["tls_prot", "tls_port"],
	["tlsport", "tls_port"],
	["http_prt", "http_port"],
	["domain_name", undefined],
	["x", undefined],
	["", undefined],
	["a".repeat(1_000_000), undefined],
])("%.20s is near %s", (text, expected) => {
	expect(nearest(text, ["tls_port", "http_port", "domain"])).toBe(expected);
});
