import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Attachment, Boot, BoxSpec } from "../runtime.js";
import { readJson } from "./files.js";
import { LinuxRuntime, type LinuxRuntimeOptions } from "./index.js";

/** Real boxes for tests: each has an agent inside that runs shell commands as root, asked over the box's own network. */

const execute = promisify(execFile);
const agentPort = 9000;

const agent = `
const { execFile } = require("node:child_process");
require("node:http").createServer((request, response) => {
	let command = "";
	request.on("data", (chunk) => { command += chunk; });
	request.on("end", () => execFile("/bin/sh", ["-c", command], { maxBuffer: 1e8 }, (error, stdout, stderr) =>
		response.end(JSON.stringify({ code: error ? error.code ?? 255 : 0, stdout, stderr }))));
}).listen(${agentPort}, () => console.log("agent listens"));
`;

export const agentBoot: Boot = {
	files: [
		{ path: "init", mode: 0o700, content: "trap 'exit 0' TERM\n/opt/gangway/bin/node /run/gangway/agent.js &\nwait\n" },
		{ path: "agent.js", mode: 0o600, content: agent },
	],
};

export function specOf(id: string, limits: Partial<BoxSpec["limits"]> = {}): BoxSpec {
	const defaults = { cpus: 1, memoryBytes: 512 * 1024 * 1024, maxProcesses: 200 };
	return { id, hostname: id.replaceAll("_", "-"), limits: { ...defaults, ...limits } };
}

export interface Answer {
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

export class TestBox {
	readonly spec: BoxSpec;
	readonly #runtime: LinuxRuntime;
	address = "";
	/** Everything that the present run printed. */
	output = "";
	attachment: Attachment | undefined;
	#offset = 0;

	constructor(runtime: LinuxRuntime, spec: BoxSpec) {
		this.#runtime = runtime;
		this.spec = spec;
	}

	async start(boot: Boot = agentBoot): Promise<void> {
		this.output = "";
		this.address = (await this.#runtime.start(this.spec, boot)).address;
		const ready = new Promise<void>((resolve) => {
			this.attachment = this.#runtime.attach(this.spec.id, this.#offset, (chunk, end) => {
				this.output += chunk;
				this.#offset = end;
				if (this.output.includes("agent listens")) resolve();
			});
		});
		if (boot === agentBoot) await ready;
	}

	async stop(): Promise<void> {
		await this.#runtime.stop(this.spec.id, { graceMs: 5_000 });
		await this.attachment?.exited;
	}

	/** Runs a shell command in the box as root. */
	sh(command: string): Promise<Answer> {
		return askAgent(this.address, command);
	}

	/** Runs it and expects that it succeeds. */
	async ok(command: string): Promise<string> {
		const { code, stdout, stderr } = await this.sh(command);
		if (code !== 0) throw new Error(`${command}: ${code}: ${stdout}${stderr}`);
		return stdout;
	}
}

export function askAgent(address: string, command: string): Promise<Answer> {
	return new Promise((resolve, reject) => {
		const sent = request(
			{ host: address, port: agentPort, method: "POST", agent: false, timeout: 20_000 },
			(response) => {
				let text = "";
				response.on("data", (chunk) => {
					text += chunk;
				});
				response.on("end", () => resolve(JSON.parse(text) as Answer));
				response.on("error", reject);
			},
		);
		sent.on("timeout", () => sent.destroy(new Error("the agent does not answer")));
		sent.on("error", reject);
		sent.end(command);
	});
}

/** A runtime on a data directory of its own. `dispose` removes all that it made, also after a failed test. */
export class TestHost {
	readonly dataDir: string;
	readonly warnings: object[] = [];
	runtime: LinuxRuntime;
	readonly #options: Partial<LinuxRuntimeOptions>;

	private constructor(dataDir: string, options: Partial<LinuxRuntimeOptions>) {
		this.dataDir = dataDir;
		this.#options = options;
		this.runtime = this.#make();
	}

	static async open(options: Partial<LinuxRuntimeOptions> = {}): Promise<TestHost> {
		const host = new TestHost(await mkdtemp(join(tmpdir(), "gangway linux,")), options);
		await host.runtime.open();
		return host;
	}

	/** Another runtime on the same directory, as after a restart of the daemon. */
	async reopen(): Promise<void> {
		this.runtime = this.#make();
		await this.runtime.open();
	}

	async box(id: string, limits: Partial<BoxSpec["limits"]> = {}): Promise<TestBox> {
		const box = new TestBox(this.runtime, specOf(id, limits));
		await this.runtime.create(box.spec);
		await box.start();
		return box;
	}

	async tag(): Promise<string> {
		return ((await readJson(join(this.dataDir, "linux", "network.json"))) as { tag: string }).tag;
	}

	/** What this installation has on the host, as the host's own tools tell it. */
	async traces(): Promise<string[]> {
		const tag = await this.tag();
		const [links, tables, routes, mounts, groups] = await Promise.all([
			tool("ip", "-brief", "link"),
			tool("nft", "list", "tables"),
			tool("ip", "route"),
			tool("cat", "/proc/self/mountinfo"),
			tool("find", "/sys/fs/cgroup", "-maxdepth", "3", "-name", "*gangway-*"),
		]);
		const network = ((await readJson(join(this.dataDir, "linux", "network.json"))) as { block: string }).block;
		return [links, tables, routes, mounts, groups]
			.flatMap((text) => text.split("\n"))
			.filter((line) => line.includes(tag) || line.includes(network) || line.includes(this.dataDir));
	}

	async dispose(): Promise<void> {
		// A test that failed between a crash and its recovery leaves a running box and a closed runtime.
		const ids = await this.runtime.list().catch(async () => await this.reopen().then(() => this.runtime.list()));
		for (const id of ids) await this.runtime.destroy(id);
		await this.runtime.close();
		await rm(this.dataDir, { recursive: true, force: true });
	}

	#make(): LinuxRuntime {
		const log = { warn: (details: object) => this.warnings.push(details) };
		return new LinuxRuntime({ dataDir: this.dataDir, log, ...this.#options });
	}
}

/** A tool of the host; resolves with its stdout. */
export async function tool(command: string, ...args: string[]): Promise<string> {
	return (await execute(command, args, { maxBuffer: 1e8 })).stdout;
}

/** The host's process id of PID 1 of a box. */
export async function initPid(host: TestHost, id: string): Promise<number> {
	const run = (await readJson(join(host.dataDir, "devboxes", id, "run.json"))) as {
		processes: { init: { pid: number } };
	};
	return run.processes.init.pid;
}
