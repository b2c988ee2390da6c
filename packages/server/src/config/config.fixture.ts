import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type LoadOptions, loadConfig } from "./load.js";

/** A directory of the test's own, with the file if one is given. */
export function directoryWith(yaml?: string, name = "gangway.yaml"): string {
	const directory = mkdtempSync(join(tmpdir(), "gangway-config-"));
	onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
	if (yaml !== undefined) writeFileSync(join(directory, name), yaml);
	return directory;
}

/** `loadConfig` of a machine that is the same everywhere, in a directory without a settings file. */
export function load(options: LoadOptions & { yaml?: string } = {}) {
	const { yaml, ...rest } = options;
	const host = { uid: 0, home: "/root", hasIpv6: true };
	return loadConfig({ env: {}, host, cwd: yaml === undefined ? "/nonexistent" : directoryWith(yaml), ...rest });
}

/** The one line that stops the start; `<dir>` stands for the directory of the file. */
export function errorLine(work: () => unknown, directory = ""): string {
	try {
		work();
	} catch (error) {
		const { code, message } = error as { code: string; message: string };
		if (code !== "config") throw error;
		return directory === "" ? message : message.replaceAll(directory, "<dir>");
	}
	return "no error";
}
