/** From the wire to what `devboxes/` takes. Null and left out are the same. */
import { isDeepStrictEqual } from "node:util";
import {
	type CreateParams,
	defaultTunnelParams,
	type LaunchParameters,
	type TunnelParams,
} from "../../devboxes/index.js";
import { InvalidError } from "../../errors.js";
import type { CreateBody, WireLaunchParameters, WirePortRule } from "./create-schema.js";

export function toCreateParams(body: CreateBody): CreateParams {
	return given({
		name: body.name,
		metadata: body.metadata,
		entrypoint: body.entrypoint,
		environmentVariables: body.environment_variables,
		files: toFiles(body),
		launchParameters: body.launch_parameters && toLaunchParameters(body.launch_parameters),
		tunnel: body.tunnel && toTunnelParams(body.tunnel),
	});
}

export function toTunnelParams(body: NonNullable<CreateBody["tunnel"]>): TunnelParams {
	return {
		...defaultTunnelParams,
		...given({
			authMode: body.auth_mode,
			httpKeepAlive: body.http_keep_alive,
			wakeOnHttp: body.wake_on_http,
			wakeMode: body.wake_mode,
			corsOrigins: body.cors_origins,
			loopbackPorts: body.loopback_ports,
			portRules: body.port_rules && toPortRules(body.port_rules),
		}),
	};
}

function toPortRules(rules: Record<string, WirePortRule>): TunnelParams["portRules"] {
	return Object.fromEntries(
		Object.entries(rules).map(([port, rule]) => [port, { hostHeader: rule.host_header ?? "preserve" }]),
	);
}

function toFiles(body: CreateBody): Record<string, string> | undefined {
	if (!body.file_mounts && !body.mounts) return undefined;
	// A map, since "__proto__" is a file name as good as any other.
	const files = new Map(Object.entries(body.file_mounts ?? {}));
	for (const [index, { target, content }] of (body.mounts ?? []).entries()) {
		if (files.has(target) && files.get(target) !== content) {
			throw new InvalidError(
				`mounts[${index}].target`,
				`${JSON.stringify(target)} is given twice with different content`,
			);
		}
		files.set(target, content);
	}
	return Object.fromEntries(files);
}

function toLaunchParameters(wire: WireLaunchParameters): LaunchParameters {
	const triggers = wire.lifecycle?.resume_triggers;
	return given({
		keepAliveTimeSeconds: wire.keep_alive_time_seconds,
		launchCommands: wire.launch_commands,
		user: wire.user_parameters,
		size: wire.resource_size_request,
		customCpuCores: wire.custom_cpu_cores,
		customGbMemory: wire.custom_gb_memory,
		customDiskSize: wire.custom_disk_size,
		afterIdle: toAfterIdle(wire),
		resumeTriggers: triggers && given({ http: triggers.http, ssh: triggers.ssh }),
		suspendHooks: toSuspendHooks(wire),
		architecture: wire.architecture,
	});
}

function toAfterIdle(wire: WireLaunchParameters): LaunchParameters["afterIdle"] {
	const older = wire.after_idle;
	const newer = wire.lifecycle?.after_idle;
	if (older && newer && !isDeepStrictEqual({ ...older }, { ...newer })) {
		throw new InvalidError(
			"launch_parameters.after_idle",
			"differs from launch_parameters.lifecycle.after_idle; give one of them",
		);
	}
	const policy = newer ?? older;
	return policy ? { idleTimeSeconds: policy.idle_time_seconds, onIdle: policy.on_idle } : undefined;
}

function toSuspendHooks(wire: WireLaunchParameters): LaunchParameters["suspendHooks"] {
	const hooks = wire.lifecycle?.lifecycle_hooks;
	if (!hooks?.suspend_commands) return undefined;
	return { commands: hooks.suspend_commands, deadlineMs: hooks.suspend_deadline_ms ?? 30_000 };
}

type Given<T> = { [K in keyof T]?: NonNullable<T[K]> };

function given<T extends object>(fields: T): Given<T> {
	return Object.fromEntries(
		Object.entries(fields).filter(([, value]) => value !== null && value !== undefined),
	) as Given<T>;
}
