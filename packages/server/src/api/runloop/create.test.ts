import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApi } from "../fakes.fixture.js";

let fake: Awaited<ReturnType<typeof fakeApi>>;
beforeEach(async () => {
	fake = await fakeApi();
});
afterEach(() => fake.api.close());

const otherArchitecture = process.arch === "arm64" ? "x86_64" : "arm64";
const hostArchitecture = process.arch === "arm64" ? "arm64" : "x86_64";

async function created(body: object) {
	const response = await fake.post("/v1/devboxes", body);
	expect(response.json()).toMatchObject({ status: "provisioning" });
	return fake.devboxes.created.at(-1);
}

async function refused(body: object): Promise<string> {
	const response = await fake.post("/v1/devboxes", body);
	expect(response.statusCode).toBe(400);
	expect(response.json().code).toBe("bad_request");
	expect(fake.devboxes.created).toEqual([]);
	return response.json().message;
}

describe("what a create asks for", () => {
	test("every parameter arrives", async () => {
		const params = await created({
			name: "web",
			metadata: { team: "a" },
			entrypoint: "node server.js",
			environment_variables: { PORT: "8080" },
			file_mounts: { "a.txt": "A" },
			mounts: [{ type: "file_mount", target: "/b.txt", content: "B" }],
			tunnel: {
				auth_mode: "authenticated",
				http_keep_alive: false,
				wake_on_http: true,
				wake_mode: "hold",
				cors_origins: ["https://app.example"],
				loopback_ports: [5173],
				port_rules: { "5173": { host_header: "localhost" }, "3000": {} },
			},
			launch_parameters: {
				keep_alive_time_seconds: 172_800,
				launch_commands: ["true"],
				user_parameters: { username: "root", uid: 0 },
				resource_size_request: "CUSTOM_SIZE",
				custom_cpu_cores: 0.5,
				custom_gb_memory: 1,
				custom_disk_size: 2,
				architecture: hostArchitecture,
				available_ports: [80],
				lifecycle: {
					after_idle: { idle_time_seconds: 60, on_idle: "suspend" },
					resume_triggers: { http: true, ssh: false, axon_event: false },
					lifecycle_hooks: { suspend_commands: ["sync"] },
				},
			},
		});
		expect(params).toEqual({
			name: "web",
			metadata: { team: "a" },
			entrypoint: "node server.js",
			environmentVariables: { PORT: "8080" },
			files: { "a.txt": "A", "/b.txt": "B" },
			tunnel: {
				authMode: "authenticated",
				httpKeepAlive: false,
				wakeOnHttp: true,
				wakeMode: "hold",
				corsOrigins: ["https://app.example"],
				loopbackPorts: [5173],
				portRules: { "5173": { hostHeader: "localhost" }, "3000": { hostHeader: "preserve" } },
			},
			launchParameters: {
				keepAliveTimeSeconds: 172_800,
				launchCommands: ["true"],
				user: { username: "root", uid: 0 },
				size: "CUSTOM_SIZE",
				customCpuCores: 0.5,
				customGbMemory: 1,
				customDiskSize: 2,
				architecture: hostArchitecture,
				afterIdle: { idleTimeSeconds: 60, onIdle: "suspend" },
				resumeTriggers: { http: true, ssh: false },
				suspendHooks: { commands: ["sync"], deadlineMs: 30_000 },
			},
		});
	});

	test("no body, null and an empty object ask for nothing", async () => {
		for (const payload of ["", "null", "{}"]) {
			const headers = { authorization: "Bearer gw_test_key", "content-type": "application/json" };
			const response = await fake.api.app.inject({ method: "POST", url: "/v1/devboxes", headers, payload });
			expect(response.statusCode).toBe(200);
		}
		expect(fake.devboxes.created).toEqual([{}, {}, {}]);
	});

	test("null is accepted wherever the client's types allow it, and means not given", async () => {
		const params = await created({
			name: null,
			metadata: null,
			entrypoint: null,
			environment_variables: null,
			file_mounts: null,
			mounts: null,
			tunnel: null,
			blueprint_id: null,
			launch_parameters: {
				after_idle: null,
				architecture: null,
				available_ports: null,
				custom_cpu_cores: null,
				keep_alive_time_seconds: null,
				launch_commands: null,
				network_policy_id: null,
				provisioning_tier: null,
				required_services: null,
				resource_size_request: null,
				user_parameters: null,
				lifecycle: { after_idle: null, resume_triggers: { http: null, axon_event: null }, lifecycle_hooks: null },
			},
		});
		expect(params).toEqual({ launchParameters: { resumeTriggers: {} } });
	});

	test("a tunnel without parameters, or with nulls, is an open one that keeps awake and does not wake", async () => {
		const nulls = {
			auth_mode: null,
			http_keep_alive: null,
			wake_on_http: null,
			wake_mode: null,
			cors_origins: null,
			loopback_ports: null,
			port_rules: null,
		};
		for (const tunnel of [{}, nulls]) {
			expect((await created({ tunnel }))?.tunnel).toEqual({
				authMode: "open",
				httpKeepAlive: true,
				wakeOnHttp: false,
				wakeMode: "retry",
				corsOrigins: [],
				loopbackPorts: [],
				portRules: {},
			});
		}
	});

	test("the idle policy in either spelling, or in both when they agree", async () => {
		const policy = { idle_time_seconds: 5, on_idle: "shutdown" };
		const same = { on_idle: "shutdown", idle_time_seconds: 5 };
		for (const launch_parameters of [
			{ after_idle: policy },
			{ lifecycle: { after_idle: policy } },
			{ after_idle: policy, lifecycle: { after_idle: same } },
		]) {
			const params = await created({ launch_parameters });
			expect(params?.launchParameters?.afterIdle).toEqual({ idleTimeSeconds: 5, onIdle: "shutdown" });
		}
	});

	test("the same file in both spellings", async () => {
		const mounts = [{ type: "file_mount", target: "a", content: "1" }];
		expect((await created({ file_mounts: { a: "1" }, mounts }))?.files).toEqual({ a: "1" });
	});

	test("parameters that are not there yet, but ask for nothing", async () => {
		const harmless = { blueprint_name: "", secrets: {}, gateways: {}, mcp: {}, code_mounts: [], mounts: [] };
		const launch_parameters = { required_services: [], provisioning_tier: "standard" };
		expect(await created({ ...harmless, launch_parameters })).toEqual({ files: {}, launchParameters: {} });
	});
});

describe("what is refused, by name", () => {
	const idle = { idle_time_seconds: 5, on_idle: "suspend" };
	test.each<[object, string]>([
		[{ nmae: "x" }, "nmae: is not a known parameter"],
		[{ launch_parameters: { foo: 1 } }, "launch_parameters.foo: is not a known parameter"],
		[{ tunnel: { auth: "open" } }, "tunnel.auth: is not a known parameter"],
		[{ name: 7 }, "name: must be of type string or null"],
		[{ metadata: { a: 1 } }, "metadata.a: must be of type string"],
		[{ metadata: { "a\nb": {} } }, "metadata.a\nb: must be of type string"],
		[{ environment_variables: { a: null } }, "environment_variables.a: must be of type string"],
		[{ tunnel: { auth_mode: "public" } }, "tunnel.auth_mode: must be one of open, authenticated"],
		[{ tunnel: { wake_mode: "wait" } }, "tunnel.wake_mode: must be one of retry, hold"],
		[{ tunnel: { cors_origins: "*" } }, "tunnel.cors_origins: must be of type array or null"],
		[{ tunnel: { loopback_ports: ["80"] } }, "tunnel.loopback_ports[0]: must be of type integer"],
		[
			{ tunnel: { port_rules: { "80": { host_header: "app" } } } },
			"tunnel.port_rules[80].host_header: must be one of preserve, localhost",
		],
		[{ tunnel: { port_rules: { "80": { host: "app" } } } }, "tunnel.port_rules[80].host: is not a known parameter"],
		[
			{ launch_parameters: { user_parameters: { username: "u", uid: -1 } } },
			"launch_parameters.user_parameters.uid: must be ≥ 0",
		],
		[{ launch_parameters: { user_parameters: { uid: 1 } } }, "launch_parameters.user_parameters.username: is required"],
		[{ launch_parameters: { keep_alive_time_seconds: 0 } }, "launch_parameters.keep_alive_time_seconds: must be ≥ 1"],
		[
			{ launch_parameters: { keep_alive_time_seconds: 172_801 } },
			"launch_parameters.keep_alive_time_seconds: must be ≤ 172800",
		],
		[
			{ launch_parameters: { launch_commands: ["a", 1] } },
			"launch_parameters.launch_commands[1]: must be of type string",
		],
		[
			{ launch_parameters: { lifecycle: { lifecycle_hooks: { suspend_deadline_ms: 60_001 } } } },
			"launch_parameters.lifecycle.lifecycle_hooks.suspend_deadline_ms: must be ≤ 60000",
		],
		[
			{ launch_parameters: { after_idle: idle, lifecycle: { after_idle: { ...idle, on_idle: "shutdown" } } } },
			"launch_parameters.after_idle: differs from launch_parameters.lifecycle.after_idle; give one of them",
		],
		[{ mounts: [{ type: "file_mount", target: "a" }] }, "mounts[0].content: is required"],
		[
			{ file_mounts: { a: "1" }, mounts: [{ type: "file_mount", target: "a", content: "2" }] },
			'mounts[0].target: "a" is given twice with different content',
		],
		[
			{ mounts: [{ type: "object_mount", object_id: "o", object_path: "/" }] },
			'mounts[0].type: "object_mount" is not supported by Gangway yet, only "file_mount"',
		],
		[
			{ launch_parameters: { architecture: otherArchitecture } },
			`launch_parameters.architecture: this host is ${hostArchitecture}`,
		],
	])("%j", async (body, message) => {
		expect(await refused(body)).toBe(message);
	});

	test.each<[string, object]>([
		["blueprint_id", { blueprint_id: "bpt_1" }],
		["blueprint_name", { blueprint_name: "x" }],
		["snapshot_id", { snapshot_id: "snp_1" }],
		["code_mounts", { code_mounts: [{ repo_name: "a", repo_owner: "b" }] }],
		["secrets", { secrets: { A: "B" } }],
		["gateways", { gateways: { A: { gateway: "a", secret: "b" } } }],
		["mcp", { mcp: { A: { mcp_config: "a", secret: "b" } } }],
		["launch_parameters.network_policy_id", { launch_parameters: { network_policy_id: "np_1" } }],
		["launch_parameters.required_services", { launch_parameters: { required_services: ["db"] } }],
		["launch_parameters.provisioning_tier", { launch_parameters: { provisioning_tier: "flex" } }],
		[
			"launch_parameters.lifecycle.resume_triggers.axon_event",
			{ launch_parameters: { lifecycle: { resume_triggers: { axon_event: true } } } },
		],
	])("%s is not supported yet", async (name, body) => {
		expect(await refused(body)).toBe(`${name}: is not supported by Gangway yet`);
	});

	test.each([
		["[]", "body: must be of type object or null"],
		["{", "body: is not valid JSON"],
		['{"metadata":{"__proto__":"x"}}', "body: is not valid JSON"],
	])("%s", async (payload, message) => {
		const headers = { authorization: "Bearer gw_test_key", "content-type": "application/json" };
		const response = await fake.api.app.inject({ method: "POST", url: "/v1/devboxes", headers, payload });
		expect([response.statusCode, response.json()]).toEqual([400, { message, code: "bad_request" }]);
	});
});
