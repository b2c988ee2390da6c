/** What the dialect knows and Gangway does not have yet: refused by name, never ignored. */
import { InvalidError } from "../../errors.js";

type Json = Record<string, unknown>;

/** Path of the parameter, and the values besides null and empty ones that ask for nothing. */
const unsupported: readonly (readonly [path: string, harmless?: unknown])[] = [
	["blueprint_id"],
	["blueprint_name"],
	["snapshot_id"],
	["code_mounts"],
	["secrets"],
	["gateways"],
	["mcp"],
	["launch_parameters.network_policy_id"],
	["launch_parameters.required_services"],
	["launch_parameters.provisioning_tier", "standard"],
	["launch_parameters.lifecycle.resume_triggers.axon_event", false],
];

/**
 * Throws an `InvalidError` that names the first parameter of the body that is not supported. Those that ask for nothing
 * are taken out: the schema does not know them. Anything that is not shaped as it should be is left for the schema.
 */
export function refuseUnsupported(body: unknown, architecture: string): void {
	if (!isObject(body)) return;
	for (const [path, harmless] of unsupported) refuseParameter(body, path, harmless);
	refuseMounts(body.mounts);
	const asked = objectAt(body, ["launch_parameters"])?.architecture;
	if ((asked === "x86_64" || asked === "arm64") && asked !== architecture) {
		throw new InvalidError("launch_parameters.architecture", `this host is ${architecture}`);
	}
}

function refuseParameter(body: Json, path: string, harmless: unknown): void {
	const keys = path.split(".");
	const last = keys.pop() as string;
	const parent = objectAt(body, keys);
	if (!parent || !Object.hasOwn(parent, last)) return;
	const value = parent[last];
	if (!isEmpty(value) && value !== harmless) throw new InvalidError(path, "is not supported by Gangway yet");
	delete parent[last];
}

function refuseMounts(mounts: unknown): void {
	if (!Array.isArray(mounts)) return;
	for (const [index, mount] of mounts.entries()) {
		const type = isObject(mount) ? mount.type : undefined;
		if (typeof type === "string" && type !== "file_mount") {
			throw new InvalidError(
				`mounts[${index}].type`,
				`${JSON.stringify(type)} is not supported by Gangway yet, only "file_mount"`,
			);
		}
	}
}

function objectAt(body: Json, keys: readonly string[]): Json | undefined {
	let here: unknown = body;
	for (const key of keys) {
		if (!isObject(here)) return undefined;
		here = here[key];
	}
	return isObject(here) ? here : undefined;
}

function isObject(value: unknown): value is Json {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
	if (value === null || value === undefined || value === "") return true;
	return typeof value === "object" && Object.keys(value).length === 0;
}
