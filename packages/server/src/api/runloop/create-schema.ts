/** The body of POST /v1/devboxes, as far as Gangway knows it; see `unsupported.ts` for the rest of what clients may send. */
import { type Static, Type } from "typebox";
import { choice, mapOf, maybe, strictObject, stringMap } from "../schema.js";

const sizes = ["X_SMALL", "SMALL", "MEDIUM", "LARGE", "X_LARGE", "XX_LARGE", "CUSTOM_SIZE"] as const;

const portRule = strictObject({
	host_header: maybe(
		choice(["preserve", "localhost"], {
			description:
				"localhost: the app sees `Host: localhost:<port>`, for servers that refuse names they do not know. Default: preserve.",
		}),
	),
});

export const tunnelFields = {
	auth_mode: maybe(
		choice(["open", "authenticated"], {
			description: "Who may use the tunnel. Default: open, everybody with its URL.",
		}),
	),
	http_keep_alive: maybe(
		Type.Boolean({ description: "HTTP through the tunnel resets the idle clock. Default: true." }),
	),
	wake_on_http: maybe(
		Type.Boolean({
			description:
				"HTTP to a suspended devbox resumes it. Default: false. `lifecycle.resume_triggers.http` wins where set.",
		}),
	),
	wake_mode: maybe(
		choice(["retry", "hold"], {
			description:
				"What a request gets that wakes the devbox. retry, the default: a 503 with Retry-After, browsers a page that reloads itself. hold: its answer, once the app is up. WebSockets and SSE are always held.",
		}),
	),
	cors_origins: maybe(
		Type.Array(Type.String(), {
			description:
				"Origins (scheme://host[:port]) whose pages may call an authenticated tunnel, beside those of its own ports. At most 50.",
			examples: [["https://app.example"]],
		}),
	),
	loopback_ports: maybe(
		Type.Array(Type.Integer(), {
			description:
				"Ports that are reached on the devbox's loopback when its address refuses them: for servers that listen on localhost only. 1 to 65535, but not 22; at most 50.",
			examples: [[5173]],
		}),
	),
	port_rules: maybe(
		mapOf(portRule, {
			description: "How single ports are served, by port number. At most 50.",
			examples: [{ "5173": { host_header: "localhost" } }],
		}),
	),
};

export type WirePortRule = Static<typeof portRule>;

const afterIdle = strictObject(
	{
		idle_time_seconds: Type.Integer({ minimum: 1, description: "Seconds without activity." }),
		on_idle: choice(["shutdown", "suspend"], { description: "What happens then." }),
	},
	{ description: "Takes the place of keep_alive_time_seconds." },
);

const lifecycle = strictObject({
	after_idle: maybe(afterIdle),
	resume_triggers: maybe(
		strictObject(
			{
				http: maybe(Type.Boolean({ description: "HTTP through the tunnel resumes the devbox." })),
				ssh: maybe(
					Type.Boolean({
						description:
							"SSH resumes the devbox. Gangway's own; left out, the gateway resumes after authentication and the passthrough never does.",
					}),
				),
			},
			{ description: "What resumes a suspended devbox." },
		),
	),
	lifecycle_hooks: maybe(
		strictObject({
			suspend_commands: maybe(
				Type.Array(Type.String(), {
					description:
						"Run in order, as the devbox's user, before a suspend. A failure is logged and does not stop it.",
				}),
			),
			suspend_deadline_ms: maybe(
				Type.Integer({ minimum: 1, maximum: 60_000, description: "Milliseconds for all of them. Default: 30000." }),
			),
		}),
	),
});

export const launchParameters = strictObject({
	after_idle: maybe(afterIdle),
	architecture: maybe(choice(["x86_64", "arm64"], { description: "Only the architecture of the host." })),
	available_ports: maybe(Type.Array(Type.Integer(), { deprecated: true, description: "Ignored." })),
	custom_cpu_cores: maybe(Type.Number({ exclusiveMinimum: 0 })),
	custom_disk_size: maybe(Type.Number({ exclusiveMinimum: 0, description: "GiB." })),
	custom_gb_memory: maybe(Type.Number({ exclusiveMinimum: 0, description: "GiB." })),
	keep_alive_time_seconds: maybe(
		Type.Integer({
			minimum: 1,
			maximum: 172_800,
			description: "Seconds of running after which the devbox shuts down.",
		}),
	),
	launch_commands: maybe(
		Type.Array(Type.String(), { description: "Run in order at every start, before the entrypoint." }),
	),
	lifecycle: maybe(lifecycle),
	resource_size_request: maybe(choice(sizes)),
	user_parameters: maybe(
		strictObject(
			{
				username: Type.String({ minLength: 1 }),
				uid: Type.Integer({ minimum: 0 }),
			},
			{ description: "The Linux user of the devbox. Default: user, 1000." },
		),
	),
});

const fileMount = strictObject({
	type: choice(["file_mount"]),
	target: Type.String({ minLength: 1, description: "Absolute, or relative to the user's home." }),
	content: Type.String(),
});

export const createBody = strictObject(
	{
		name: maybe(Type.String()),
		metadata: maybe(stringMap({ description: "Yours to use." })),
		entrypoint: maybe(Type.String({ description: "The main program: the devbox shuts down when it exits." })),
		environment_variables: maybe(stringMap()),
		file_mounts: maybe(stringMap({ description: "Path to content; `mounts` is the newer spelling." })),
		mounts: maybe(Type.Array(fileMount, { description: "Files that are there before the launch commands run." })),
		launch_parameters: maybe(launchParameters),
		tunnel: maybe(strictObject(tunnelFields, { description: "Enables the tunnel from the start." })),
	},
	{
		description:
			"Parameters of the dialect that Gangway does not have yet (blueprint_id, blueprint_name, snapshot_id, code_mounts, secrets, gateways, mcp, mounts of other types, network_policy_id, required_services, provisioning_tier flex, resume_triggers.axon_event) are refused by name, unless they are null or empty.",
		examples: [
			{
				name: "web",
				entrypoint: "node server.js",
				file_mounts: { "server.js": "…" },
				tunnel: { auth_mode: "authenticated" },
				launch_parameters: { lifecycle: { after_idle: { idle_time_seconds: 600, on_idle: "suspend" } } },
			},
		],
	},
);

export type CreateBody = Static<typeof createBody>;
export type WireLaunchParameters = Static<typeof launchParameters>;
