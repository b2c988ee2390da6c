import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { CreateParams } from "./box.js";

/** The WebSocket library, which a box does not have. */
function wsFiles(): Record<string, string> {
	const root = dirname(createRequire(import.meta.url).resolve("ws/package.json"));
	const names = ["package.json", "index.js", "wrapper.mjs", ...readdirSync(join(root, "lib")).map((n) => `lib/${n}`)];
	return Object.fromEntries(names.map((name) => [`node_modules/ws/${name}`, readFileSync(join(root, name), "utf8")]));
}

/**
 * Parameters of a devbox that runs the server of `box-server.mjs` on these ports, also after each resume, and only then
 * counts as running.
 */
export function withWebServer(params: CreateParams = {}, ports: readonly number[] = [8080]): CreateParams {
	const source = readFileSync(new URL("box-server.mjs", import.meta.url), "utf8");
	const listens = ports.map((port) => `until (: </dev/tcp/127.0.0.1/${port}) 2>/dev/null; do sleep 0.02; done`);
	return {
		...params,
		file_mounts: { ...wsFiles(), "server.mjs": source, ...params.file_mounts },
		launch_parameters: {
			...params.launch_parameters,
			launch_commands: [
				`nohup node server.mjs ${ports.join(" ")} >server.log 2>&1 &`,
				...listens,
				...(params.launch_parameters?.launch_commands ?? []),
			],
		},
	};
}
