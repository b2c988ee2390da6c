/** From the wire to what `devboxes/` takes. Null and left out are the same. */
import { type Static, Type } from "typebox";
import type { CreateParams, LaunchParameters } from "../../devboxes/index.js";
import { InvalidError, NotFoundError } from "../../errors.js";
import { maybe, strictObject, stringMap } from "../schema.js";
import { isObject, refuseParameter } from "../unsupported.js";
import { defaultTemplate } from "./views.js";

/** Ten years. */
const maxSeconds = 315_360_000;

export const claimBody = strictObject(
	{
		template: maybe(Type.String({ description: `Default, and the only one: ${defaultTemplate}.` })),
		config: maybe(
			strictObject({
				env_vars: maybe(stringMap()),
				resources: maybe(
					strictObject({
						memory: maybe(Type.String({ description: "At least 128Mi. The CPU follows from it: a core for 2Gi." })),
					}),
				),
				ttl: maybe(
					Type.Integer({
						minimum: 0,
						maximum: maxSeconds,
						description: "Seconds after the claim, or the last resume or refresh, when it is paused. 0: never.",
					}),
				),
				hard_ttl: maybe(
					Type.Integer({
						minimum: 0,
						maximum: maxSeconds,
						description: "Seconds after the claim when it is deleted, paused or not. 0: never.",
					}),
				),
				auto_resume: maybe(
					Type.Boolean({ description: "Whether SSH and tunnels may resume it, as far as they would. Default: true." }),
				),
			}),
		),
	},
	{
		description:
			"Parameters of the dialect that Gangway does not have yet (snapshot_id, mounts, config.network, config.webhook, config.services) are refused by name, unless they are null or empty.",
		examples: [{ template: defaultTemplate, config: { ttl: 3600, resources: { memory: "2Gi" } } }],
	},
);

const unsupported = ["snapshot_id", "mounts", "config.network", "config.webhook", "config.services"];

export function refuseUnsupported(body: unknown): void {
	if (isObject(body)) for (const path of unsupported) refuseParameter(body, path);
}

export function toCreateParams({ template, config }: Static<typeof claimBody>): CreateParams {
	if (template && template !== defaultTemplate) throw new NotFoundError("template");
	const { env_vars, resources, ttl, hard_ttl, auto_resume } = config ?? {};
	const launchParameters: LaunchParameters = {
		...(resources?.memory && toSize(resources.memory)),
		...(ttl && { ttlSeconds: ttl }),
		...(hard_ttl && { hardTtlSeconds: hard_ttl }),
		...(auto_resume === false && { resumeTriggers: { http: false, ssh: false } }),
	};
	return { ...(env_vars && { environmentVariables: env_vars }), launchParameters };
}

const mib = 1024 ** 2;
const gib = 1024 ** 3;
/** Quantities of Kubernetes, as far as they make sense for memory. */
const units: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6, G: 1e9, Ki: 1024, Mi: mib, Gi: gib };

/** A core for 2 GiB, as the sizes of the other dialect have it. */
function toSize(memory: string): LaunchParameters {
	const field = "config.resources.memory";
	const [, number = "", unit = ""] = /^(\d{1,15}(?:\.\d{1,6})?)(k|M|G|Ki|Mi|Gi)?$/.exec(memory) ?? [];
	if (number === "") throw new InvalidError(field, "must be a quantity of memory such as 512Mi or 2Gi");
	const memoryGib = (Number(number) * (units[unit] as number)) / gib;
	if (memoryGib < 128 / 1024 || memoryGib > 512) throw new InvalidError(field, "must be from 128Mi to 512Gi");
	return { size: "CUSTOM_SIZE", customGbMemory: memoryGib, customCpuCores: Math.max(0.15, memoryGib / 2) };
}
