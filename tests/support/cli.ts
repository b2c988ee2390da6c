import { spawn } from "node:child_process";
import { collect, type Result } from "./ssh.js";

/** The built `gangway` command. */
export const cli = new URL("../../packages/cli/dist/main.js", import.meta.url).pathname;

/** Runs it to its end, which must come soon. The environment is `env` and PATH, nothing else. */
export function gangway(
	args: readonly string[],
	options: { readonly env?: Readonly<Record<string, string>>; readonly cwd: string },
): Promise<Result> {
	const { cwd, env = {} } = options;
	const child = spawn(process.execPath, [cli, ...args], {
		cwd,
		env: { PATH: process.env.PATH, ...env },
		timeout: 15_000,
		killSignal: "SIGKILL",
	});
	return collect(child);
}

/** Runs a line of shell, as somebody who pastes it. */
export function shell(line: string): Promise<Result> {
	return collect(spawn("sh", ["-c", line]));
}
