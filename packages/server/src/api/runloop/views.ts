/** What the dialect shows: schemas for the documentation, and the functions that make them. */
import { type Static, Type } from "typebox";
import { can, type Principal } from "../../accounts/index.js";
import type {
	Devbox,
	LaunchParameters,
	LogEntry,
	NewShareLink,
	ShareLink,
	SshKey,
	Tunnel,
} from "../../devboxes/index.js";
import { statuses } from "../../devboxes/index.js";
import { choice, mapOf, maybe, nullable, strictObject, stringMap } from "../schema.js";
import type { TunnelUrl } from "../services.js";
import { launchParameters } from "./create-schema.js";

/** The dialect's statuses; Gangway never has the last two: it starts boxes at once. */
export const wireStatuses = [...statuses, "queued", "scheduled"] as const;

export const tunnelView = strictObject(
	{
		tunnel_key: Type.String(),
		url: Type.String({
			description: "With {port} in place of the port.",
			examples: ["https://{port}-mfrggzdfmztwq2lknnwg23tpoe.tunnel.example.com"],
		}),
		auth_mode: choice(["open", "authenticated"]),
		create_time_ms: Type.Integer(),
		http_keep_alive: Type.Boolean(),
		wake_on_http: Type.Boolean(),
		wake_mode: choice(["retry", "hold"]),
		cors_origins: Type.Array(Type.String()),
		loopback_ports: Type.Array(Type.Integer()),
		port_rules: mapOf(strictObject({ host_header: choice(["preserve", "localhost"]) })),
		auth_token: Type.Optional(
			Type.String({
				description:
					"Only when authenticated. Send it as X-Runloop-Tunnel-Authorization: Bearer <token>, or as Authorization.",
			}),
		),
	},
	{ $id: "Tunnel" },
);

const shareLinkFields = {
	id: Type.String({ examples: ["shl_01k6m3v9q7x8y2z4a5b6c7d8e9"] }),
	port: Type.Integer(),
	path: Type.String({ description: "Where the URL leads: path and query." }),
	create_time_ms: Type.Integer(),
	expires_at_ms: Type.Integer(),
};

export const shareLinkView = strictObject(shareLinkFields, { $id: "ShareLink" });

export const newShareLinkView = strictObject(
	{
		...shareLinkFields,
		url: Type.String({
			description: "A secret, shown this once.",
			examples: ["https://3000-mfrggzdfmztwq2lknnwg23tpoe.tunnel.example.com/?gangway_share=…"],
		}),
	},
	{ $id: "NewShareLink" },
);

export const shareLinkListView = strictObject(
	{ share_links: Type.Array(shareLinkView, { description: "Those that are good, oldest first." }) },
	{ $id: "ShareLinkList" },
);

export const devboxView = strictObject(
	{
		id: Type.String(),
		name: nullable(Type.String()),
		status: choice(wireStatuses),
		create_time_ms: Type.Integer({ description: "Milliseconds since the epoch, as all times." }),
		end_time_ms: nullable(Type.Integer()),
		launch_parameters: launchParameters,
		metadata: stringMap(),
		state_transitions: Type.Array(
			strictObject({
				status: choice(wireStatuses),
				transition_time_ms: Type.Integer(),
				failure_reason: Type.Optional(Type.String()),
			}),
		),
		capabilities: Type.Array(Type.String(), { maxItems: 0 }),
		failure_reason: nullable(choice(["out_of_memory", "out_of_disk", "execution_failed", "health_check_failed"])),
		shutdown_reason: nullable(choice(["api_shutdown", "keep_alive_timeout", "entrypoint_exit", "idle"])),
		tunnel: Type.Union([tunnelView, Type.Null()]),
		initiator_type: choice(["api"]),
		blueprint_id: Type.Null(),
		snapshot_id: Type.Null(),
	},
	{ $id: "Devbox" },
);

export const devboxListView = strictObject(
	{
		devboxes: Type.Array(devboxView, { description: "Newest first." }),
		has_more: Type.Boolean({ description: "There are more: ask with starting_after, the id of the last one here." }),
		total_count: Type.Optional(Type.Integer()),
	},
	{ $id: "DevboxList" },
);

export const sshKeyView = strictObject(
	{
		id: Type.String(),
		ssh_private_key: Type.String({ description: "PEM, SEC1 (EC PRIVATE KEY), ECDSA P-256." }),
		ssh_user: Type.String(),
		url: Type.String({ description: "A host name: TLS server name and ssh Hostname." }),
	},
	{ $id: "SshKey" },
);

export const logsView = strictObject(
	{
		logs: Type.Array(
			strictObject({
				level: choice(["info", "error"]),
				source: choice(["setup_commands", "entrypoint", "exec", "files", "stats", "kmsg"]),
				timestamp_ms: Type.Integer(),
				message: maybe(Type.String()),
				cmd: maybe(Type.String()),
				exit_code: maybe(Type.Integer()),
			}),
		),
	},
	{ $id: "DevboxLogs" },
);

export const emptyView = strictObject({}, { $id: "Empty" });

export const runloopViews = [
	tunnelView,
	shareLinkView,
	newShareLinkView,
	shareLinkListView,
	devboxView,
	devboxListView,
	sshKeyView,
	logsView,
	emptyView,
];

export type DevboxView = Static<typeof devboxView>;

/** Tokens are for those who may enter. */
export function toDevboxView(devbox: Devbox, reader: Pick<Principal, "role">, tunnelUrl: TunnelUrl): DevboxView {
	const tunnel = devbox.tunnel && toTunnelView(devbox.tunnel, tunnelUrl);
	if (!can(reader, "enter")) delete tunnel?.auth_token;
	return {
		id: devbox.id,
		name: devbox.name,
		status: devbox.status,
		create_time_ms: devbox.createdAtMs,
		end_time_ms: devbox.endedAtMs,
		launch_parameters: toLaunchParametersView(devbox.launchParameters),
		metadata: { ...devbox.metadata },
		state_transitions: devbox.transitions.map(({ status, atMs, failureReason }) => ({
			status,
			transition_time_ms: atMs,
			...(failureReason && { failure_reason: failureReason }),
		})),
		capabilities: [],
		failure_reason: devbox.failureReason,
		shutdown_reason: devbox.shutdownReason,
		tunnel,
		initiator_type: "api",
		blueprint_id: null,
		snapshot_id: null,
	};
}

export function toTunnelView(tunnel: Tunnel, tunnelUrl: TunnelUrl): Static<typeof tunnelView> {
	return {
		tunnel_key: tunnel.key,
		url: tunnelUrl(tunnel.key, "{port}"),
		auth_mode: tunnel.authMode,
		create_time_ms: tunnel.createdAtMs,
		http_keep_alive: tunnel.httpKeepAlive,
		wake_on_http: tunnel.wakeOnHttp,
		wake_mode: tunnel.wakeMode,
		cors_origins: [...tunnel.corsOrigins],
		loopback_ports: [...tunnel.loopbackPorts],
		port_rules: toPortRulesView(tunnel.portRules),
		...(tunnel.token !== null && { auth_token: tunnel.token }),
	};
}

function toPortRulesView(rules: Tunnel["portRules"]) {
	return Object.fromEntries(Object.entries(rules).map(([port, { hostHeader }]) => [port, { host_header: hostHeader }]));
}

export function toShareLinkView(link: ShareLink): Static<typeof shareLinkView> {
	const { id, port, path, createdAtMs, expiresAtMs } = link;
	return { id, port, path, create_time_ms: createdAtMs, expires_at_ms: expiresAtMs };
}

export function toNewShareLinkView(link: NewShareLink, tunnelUrl: TunnelUrl): Static<typeof newShareLinkView> {
	const { tunnelKey, port, path, token } = link;
	const url = `${tunnelUrl(tunnelKey, port)}${path}${path.includes("?") ? "&" : "?"}gangway_share=${token}`;
	return { ...toShareLinkView(link), url };
}

export function toSshKeyView(id: string, key: SshKey): Static<typeof sshKeyView> {
	return { id, ssh_private_key: key.privateKeyPem, ssh_user: key.sshUser, url: key.hostname };
}

export function toLogsView(entries: readonly LogEntry[]): Static<typeof logsView> {
	return {
		logs: entries.map(({ level, source, timestampMs, message, cmd, exitCode }) => ({
			level,
			source,
			timestamp_ms: timestampMs,
			...(message !== undefined && { message }),
			...(cmd !== undefined && { cmd }),
			...(exitCode !== undefined && { exit_code: exitCode }),
		})),
	};
}

type LaunchParametersView = DevboxView["launch_parameters"];

/** What was asked for, in the dialect's spelling; the idle policy in both spellings, since clients may read either. */
function toLaunchParametersView(asked: LaunchParameters): LaunchParametersView {
	const view = {
		after_idle: toAfterIdleView(asked),
		architecture: asked.architecture as "x86_64" | "arm64" | undefined,
		custom_cpu_cores: asked.customCpuCores,
		custom_disk_size: asked.customDiskSize,
		custom_gb_memory: asked.customGbMemory,
		keep_alive_time_seconds: asked.keepAliveTimeSeconds,
		launch_commands: asked.launchCommands && [...asked.launchCommands],
		lifecycle: toLifecycleView(asked),
		resource_size_request: asked.size,
		user_parameters: asked.user && { username: asked.user.username, uid: asked.user.uid },
	};
	return withoutUndefined(view);
}

function toAfterIdleView({ afterIdle }: LaunchParameters) {
	return afterIdle && { idle_time_seconds: afterIdle.idleTimeSeconds, on_idle: afterIdle.onIdle };
}

function toLifecycleView(asked: LaunchParameters): LaunchParametersView["lifecycle"] | undefined {
	const { suspendHooks, resumeTriggers } = asked;
	if (!asked.afterIdle && !suspendHooks && !resumeTriggers) return undefined;
	return withoutUndefined({
		after_idle: toAfterIdleView(asked),
		resume_triggers: resumeTriggers && { ...resumeTriggers },
		lifecycle_hooks: suspendHooks && {
			suspend_commands: [...suspendHooks.commands],
			suspend_deadline_ms: suspendHooks.deadlineMs,
		},
	});
}

type WithoutUndefined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(fields: T): WithoutUndefined<T> {
	return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as WithoutUndefined<T>;
}
