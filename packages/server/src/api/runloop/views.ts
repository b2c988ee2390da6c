/** What the dialect shows: schemas for the documentation, and the functions that make them. */
import { type Static, Type } from "typebox";
import { can, type Principal } from "../../accounts/index.js";
import type { Devbox, LaunchParameters, LogEntry, SshKey, Tunnel } from "../../devboxes/index.js";
import { statuses } from "../../devboxes/index.js";
import { choice, maybe, nullable, strictObject, stringMap } from "../schema.js";
import { launchParameters } from "./create-schema.js";

/** The dialect's statuses; Gangway never has the last two: it starts boxes at once. */
export const wireStatuses = [...statuses, "queued", "scheduled"] as const;

export const tunnelView = strictObject(
	{
		tunnel_key: Type.String({ description: "The URL is https://{port}-{tunnel_key}.tunnel.<domain>." }),
		auth_mode: choice(["open", "authenticated"]),
		create_time_ms: Type.Integer(),
		http_keep_alive: Type.Boolean(),
		wake_on_http: Type.Boolean(),
		auth_token: Type.Optional(
			Type.String({
				description:
					"Only when authenticated. Send it as X-Runloop-Tunnel-Authorization: Bearer <token>, or as Authorization.",
			}),
		),
	},
	{ $id: "Tunnel" },
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

export const runloopViews = [tunnelView, devboxView, devboxListView, sshKeyView, logsView, emptyView];

export type DevboxView = Static<typeof devboxView>;

/** Tokens are for those who may enter. */
export function toDevboxView(devbox: Devbox, reader: Pick<Principal, "role">): DevboxView {
	const tunnel = devbox.tunnel && toTunnelView(devbox.tunnel);
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

export function toTunnelView(tunnel: Tunnel): Static<typeof tunnelView> {
	return {
		tunnel_key: tunnel.key,
		auth_mode: tunnel.authMode,
		create_time_ms: tunnel.createdAtMs,
		http_keep_alive: tunnel.httpKeepAlive,
		wake_on_http: tunnel.wakeOnHttp,
		...(tunnel.token !== null && { auth_token: tunnel.token }),
	};
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
