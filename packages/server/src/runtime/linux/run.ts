import { spawn } from "node:child_process";

/** Where Debian keeps the tools this runtime uses; never the daemon's own PATH, which a user may have changed. */
export const toolPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/** The daemon's environment holds secrets (the master key), so nothing it starts inherits it. */
export const toolEnvironment: Readonly<Record<string, string>> = { PATH: toolPath, LC_ALL: "C" };

const maxOutputBytes = 4 * 1024 * 1024;

/**
 * Runs one of the host's tools without a shell and resolves with its stdout.
 * Fails with the command and its stderr, which is for a log: callers make it the cause of a public error.
 */
export function run(command: string, args: readonly string[], options: { readonly input?: string } = {}) {
	return new Promise<string>((resolve, reject) => {
		const fail = (reason: string) => reject(new Error(`${command} ${args.join(" ")}: ${reason}`));
		const child = spawn(command, args, { env: toolEnvironment, stdio: ["pipe", "pipe", "pipe"] });
		const stdout: Buffer[] = [];
		let stderr = "";
		let size = 0;
		child.stdout.on("data", (chunk: Buffer) => {
			size += chunk.length;
			if (size > maxOutputBytes) child.kill("SIGKILL");
			else stdout.push(chunk);
		});
		child.stderr.on("data", (chunk: Buffer) => {
			if (stderr.length < 8192) stderr += chunk.toString();
		});
		child.on("error", (error) => fail(error.message));
		child.on("close", (code, signal) => {
			if (code === 0) resolve(Buffer.concat(stdout).toString());
			else fail(size > maxOutputBytes ? "too much output" : stderr.trim() || `ended with ${code ?? signal}`);
		});
		// A command that ends without reading its input closes the pipe; its exit code says what there is to say.
		child.stdin.on("error", () => {});
		child.stdin.end(options.input ?? "");
	});
}
