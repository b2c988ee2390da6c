import { expect, test } from "vitest";
import { load } from "./config.fixture.js";
import { describeSettings, settingsReference } from "./reference.js";

const descriptions = describeSettings();

test("every key of the configuration is documented, once", () => {
	expect(descriptions.map(({ key }) => key).sort()).toEqual(Object.keys(load()).sort());
	for (const name of ["fileKey", "variable", "flag"] as const) {
		expect(new Set(descriptions.map((setting) => setting[name])).size).toBe(descriptions.length);
	}
});

test.each(descriptions)("$key says what it is, its default and what follows from it", (setting) => {
	expect(setting.fileKey).toMatch(/^[a-z]+(_[a-z0-9]+)*$/);
	expect(setting.variable).toBe(`GANGWAY_${setting.fileKey.toUpperCase()}`);
	expect(setting.flag).toBe(`--${setting.fileKey.replaceAll("_", "-")}`);
	expect(setting.allowed).not.toBe("");
	expect(setting.default).not.toBe("");
	expect(setting.about).toMatch(/\.$/);
	if (/timeout|lifetime/.test(setting.fileKey)) expect(setting.unit).toBe("seconds");
});

test("a default that is written as a value is one", () => {
	for (const { key, flag, default: text, allowed } of descriptions) {
		if (/^[\w.]+$/.test(text) && text !== "none") {
			expect([flag, load({ flags: { [key]: text } })], allowed).toEqual([flag, load()]);
		}
	}
});

test("the reference is a table with a row for each", () => {
	const lines = settingsReference().trimEnd().split("\n");
	expect(lines).toHaveLength(descriptions.length + 2);
	expect(lines).toContain(
		"| `tls_port` | `GANGWAY_TLS_PORT` | `--tls-port` | a whole number from 0 to 65535 (0: any free port) | 7443 | API, tunnels and SSH over TLS. In production 443; the official CLI insists on it. |",
	);
	for (const row of lines) expect(row.match(/(?<!\\)\|/g)).toHaveLength(7);
});

test("docs/configuration.md is the table of settings", async () => {
	const head =
		"# Settings\n\nFlags win over variables, variables over the file `gangway.yaml`, the file over defaults. The file holds lines such as `log_level: debug`\nand lies in the directory where the daemon is started, or where `--config <path>` says.\nA wrong value or an unknown key stops the start with one line that says which.\n\n";
	await expect(`${head}${settingsReference()}`).toMatchFileSnapshot("../../../../docs/configuration.md");
});
