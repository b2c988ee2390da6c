import { InvalidError } from "../errors.js";
import type { BoxSpec } from "../runtime/runtime.js";
import type { CreateParams, LaunchParameters, ResourceSize } from "./devbox.js";

/** Checks what only a devbox's own rules can tell; the dialects have checked the shapes. Field names are the wire's. */
export function checkCreateParams(params: CreateParams): void {
	const launch = params.launchParameters ?? {};
	checkUser(launch.user);
	checkSize(launch);
	checkEnvironment(params.environmentVariables ?? {});
	for (const path of Object.keys(params.files ?? {})) checkFilePath(path);
	launch.launchCommands?.forEach((command, n) => {
		checkText(`launch_parameters.launch_commands[${n}]`, command);
	});
	launch.suspendHooks?.commands.forEach((command, n) => {
		checkText(`launch_parameters.lifecycle.lifecycle_hooks.suspend_commands[${n}]`, command);
	});
	if (params.entrypoint !== undefined) checkText("entrypoint", params.entrypoint);
}

export const defaultUser = { username: "user", uid: 1000 } as const;

function checkUser(user: LaunchParameters["user"]): void {
	if (user === undefined) return;
	const field = "launch_parameters.user_parameters";
	if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(user.username)) {
		throw new InvalidError(
			`${field}.username`,
			"must begin with a lowercase letter or _ and hold only lowercase letters, digits, _ and -, at most 32",
		);
	}
	if ((user.username === "root") !== (user.uid === 0)) {
		throw new InvalidError(`${field}.uid`, "is 0 for the user root, and for no other");
	}
	if (!Number.isInteger(user.uid) || user.uid < 0 || user.uid > 60_000) {
		throw new InvalidError(`${field}.uid`, "must be a whole number from 0 to 60000");
	}
}

/** Linux starts no program with a string of 128 KiB in its environment, nor with 2 MiB of it and its arguments together. */
const maxVariableBytes = 96 * 1024;
const maxEnvironmentBytes = 1024 * 1024;

function checkEnvironment(variables: Readonly<Record<string, string>>): void {
	let total = 0;
	for (const [name, value] of Object.entries(variables)) {
		if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
			throw new InvalidError(
				`environment_variables.${name.slice(0, 64)}`,
				"a name holds only letters, digits and _, and begins with no digit",
			);
		}
		// sshd's configuration cannot carry a line break, and a variable must be the same in every session.
		if (/[\0\r\n]/.test(value)) {
			throw new InvalidError(
				`environment_variables.${name}`,
				"must hold no line break and no NUL; for a key or a document use file_mounts",
			);
		}
		const bytes = Buffer.byteLength(name) + Buffer.byteLength(value);
		total += bytes + 10; // The string's end and its pointer.
		if (bytes > maxVariableBytes) {
			throw new InvalidError(`environment_variables.${name.slice(0, 64)}`, "must have at most 96 KiB; use file_mounts");
		}
	}
	if (total > maxEnvironmentBytes) {
		throw new InvalidError("environment_variables", "must have at most 1 MiB together; use file_mounts");
	}
}

function checkFilePath(path: string): void {
	const parts = path.split("/");
	if (path === "" || path.endsWith("/") || parts.includes("..") || path.length > 4096 || /[\0\r\n]/.test(path)) {
		throw new InvalidError(
			`file_mounts[${JSON.stringify(path.slice(0, 80))}]`,
			"must be the path of a file, absolute or relative to the home directory, without .. and line breaks",
		);
	}
}

function checkText(field: string, text: string): void {
	if (text.trim() === "") throw new InvalidError(field, "must not be empty");
	if (text.includes("\0")) throw new InvalidError(field, "must hold no NUL");
}

const gib = 1024 ** 3;

const sizes: Readonly<Record<Exclude<ResourceSize, "CUSTOM_SIZE">, { cpus: number; memoryGib: number }>> = {
	X_SMALL: { cpus: 0.5, memoryGib: 1 },
	SMALL: { cpus: 1, memoryGib: 2 },
	MEDIUM: { cpus: 2, memoryGib: 4 },
	LARGE: { cpus: 2, memoryGib: 8 },
	X_LARGE: { cpus: 4, memoryGib: 16 },
	XX_LARGE: { cpus: 8, memoryGib: 32 },
};

function checkSize(launch: LaunchParameters): void {
	const custom = [
		["custom_cpu_cores", launch.customCpuCores, 0.1, 256],
		["custom_gb_memory", launch.customGbMemory, 0.125, 4096],
		["custom_disk_size", launch.customDiskSize, 1, 65_536],
	] as const;
	for (const [name, value, min, max] of custom) {
		const field = `launch_parameters.${name}`;
		if (launch.size !== "CUSTOM_SIZE" && value !== undefined) {
			throw new InvalidError(field, "goes only with resource_size_request CUSTOM_SIZE");
		}
		if (value !== undefined && !(value >= min && value <= max)) {
			throw new InvalidError(field, `must be from ${min} to ${max}`);
		}
	}
	if (launch.size === "CUSTOM_SIZE" && (launch.customCpuCores === undefined || launch.customGbMemory === undefined)) {
		throw new InvalidError(
			"launch_parameters.resource_size_request",
			"CUSTOM_SIZE needs custom_cpu_cores and custom_gb_memory",
		);
	}
}

/** What the runtime is told. Where no size is asked for, SMALL. */
export function boxLimits(launch: LaunchParameters): BoxSpec["limits"] {
	const { cpus, memoryGib } =
		launch.size === "CUSTOM_SIZE"
			? { cpus: launch.customCpuCores ?? 1, memoryGib: launch.customGbMemory ?? 2 }
			: sizes[launch.size ?? "SMALL"];
	return { cpus, memoryBytes: Math.round(memoryGib * gib), maxProcesses: Math.max(512, Math.round(memoryGib * 512)) };
}
