import { Value } from "typebox/value";
import { expect, test } from "vitest";
import type { Devbox } from "../../devboxes/index.js";
import { newTunnel, testTunnelUrl } from "../fakes.fixture.js";
import {
	devboxView,
	newShareLinkView,
	toDevboxView,
	toLogsView,
	toNewShareLinkView,
	toTunnelView,
	tunnelView,
} from "./views.js";

const member = { role: "member" } as const;

const plain: Devbox = {
	id: "dbx_1",
	teamId: "team_1",
	createdBy: "usr_1",
	name: null,
	status: "running",
	runtime: "linux",
	launchParameters: {},
	metadata: {},
	sshUser: "user",
	transitions: [{ status: "provisioning", atMs: 1, failureReason: null }],
	failureReason: null,
	shutdownReason: null,
	createdAtMs: 1,
	endedAtMs: null,
	expiresAtMs: null,
	hardExpiresAtMs: null,
	generation: 1,
	tunnel: null,
};

test("a plain devbox has no internal fields, and its launch parameters are what was asked for", () => {
	expect(toDevboxView(plain, member, testTunnelUrl)).toEqual({
		id: "dbx_1",
		name: null,
		status: "running",
		create_time_ms: 1,
		end_time_ms: null,
		launch_parameters: {},
		metadata: {},
		state_transitions: [{ status: "provisioning", transition_time_ms: 1 }],
		capabilities: [],
		failure_reason: null,
		shutdown_reason: null,
		tunnel: null,
		initiator_type: "api",
		blueprint_id: null,
		snapshot_id: null,
	});
});

test("a devbox with everything matches the documented schema", () => {
	const full: Devbox = {
		...plain,
		name: "web",
		status: "failure",
		metadata: { a: "b" },
		transitions: [{ status: "failure", atMs: 2, failureReason: "out_of_memory" }],
		failureReason: "out_of_memory",
		endedAtMs: 2,
		launchParameters: {
			keepAliveTimeSeconds: 5,
			launchCommands: ["true"],
			user: { username: "root", uid: 0 },
			size: "CUSTOM_SIZE",
			customCpuCores: 1,
			customGbMemory: 2,
			customDiskSize: 4,
			afterIdle: { idleTimeSeconds: 60, onIdle: "suspend" },
			resumeTriggers: { http: true },
			suspendHooks: { commands: ["sync"], deadlineMs: 1000 },
			architecture: "x86_64",
		},
		tunnel: newTunnel({
			authMode: "authenticated",
			wakeMode: "hold",
			corsOrigins: ["https://app.example"],
			loopbackPorts: [5173],
			portRules: { "5173": { hostHeader: "localhost" } },
		}),
	};
	const view = toDevboxView(full, member, testTunnelUrl);
	expect(Value.Errors(devboxView, view)).toEqual([]);
	expect(Value.Errors(devboxView, toDevboxView(plain, member, testTunnelUrl))).toEqual([]);
	expect(view.launch_parameters).toEqual({
		after_idle: { idle_time_seconds: 60, on_idle: "suspend" },
		architecture: "x86_64",
		custom_cpu_cores: 1,
		custom_gb_memory: 2,
		custom_disk_size: 4,
		keep_alive_time_seconds: 5,
		launch_commands: ["true"],
		lifecycle: {
			after_idle: { idle_time_seconds: 60, on_idle: "suspend" },
			resume_triggers: { http: true },
			lifecycle_hooks: { suspend_commands: ["sync"], suspend_deadline_ms: 1000 },
		},
		resource_size_request: "CUSTOM_SIZE",
		user_parameters: { username: "root", uid: 0 },
	});
	expect(view.state_transitions).toEqual([
		{ status: "failure", transition_time_ms: 2, failure_reason: "out_of_memory" },
	]);
	expect(view.tunnel).toEqual({
		tunnel_key: "abcdefghijklmnopqrstuvwxyz",
		url: "https://{port}-abcdefghijklmnopqrstuvwxyz.tunnel.gangway.localhost:7443",
		auth_mode: "authenticated",
		auth_token: "tunnel-token",
		create_time_ms: 1_700_000_000_000,
		http_keep_alive: true,
		wake_on_http: false,
		wake_mode: "hold",
		cors_origins: ["https://app.example"],
		loopback_ports: [5173],
		port_rules: { "5173": { host_header: "localhost" } },
	});
	expect(toDevboxView(full, { role: "viewer" }, testTunnelUrl).tunnel).not.toHaveProperty("auth_token");
	expect(full.tunnel?.token).toBe("tunnel-token");
});

test("an open tunnel has no auth_token, not even an empty one", () => {
	const view = toTunnelView(newTunnel({ authMode: "open" }), testTunnelUrl);
	expect(Value.Errors(tunnelView, view)).toEqual([]);
	expect(view).not.toHaveProperty("auth_token");
});

test("log entries leave out what they do not have", () => {
	const logs = toLogsView([
		{ timestampMs: 1, level: "info", source: "setup_commands", cmd: "true" },
		{ timestampMs: 2, level: "error", source: "entrypoint", message: "boom", exitCode: 0 },
	]);
	expect(logs).toEqual({
		logs: [
			{ timestamp_ms: 1, level: "info", source: "setup_commands", cmd: "true" },
			{ timestamp_ms: 2, level: "error", source: "entrypoint", message: "boom", exit_code: 0 },
		],
	});
});

test.each([
	["/", "/?gangway_share=t.m"],
	["/a/b", "/a/b?gangway_share=t.m"],
	["/a?b=c", "/a?b=c&gangway_share=t.m"],
])("the URL of a share link to %s carries its token in the query", (path, end) => {
	const link = { id: "shl_1", port: 3000, path, createdAtMs: 1, expiresAtMs: 2, tunnelKey: "k", token: "t.m" };
	const view = toNewShareLinkView(link, testTunnelUrl);
	expect(Value.Errors(newShareLinkView, view)).toEqual([]);
	expect(view.url).toBe(`https://3000-k.tunnel.gangway.localhost:7443${end}`);
});
