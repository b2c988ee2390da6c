/** What the dialect knows and Gangway does not have yet: refused by name, never ignored. */
import { InvalidError } from "../../errors.js";
import { isObject, objectAt, refuseParameter } from "../unsupported.js";

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
