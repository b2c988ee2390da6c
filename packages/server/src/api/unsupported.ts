/** Refusing by name what a dialect knows and Gangway does not have yet: it is never ignored. */
import { InvalidError } from "../errors.js";

export type Json = Record<string, unknown>;

/**
 * Throws an `InvalidError` when the body has the parameter. One that is null or empty, or has the `harmless` value, asks for
 * nothing: it is taken out, since the schema does not know it. Anything that is not shaped as it should be is left for the schema.
 */
export function refuseParameter(body: Json, path: string, harmless?: unknown): void {
	const keys = path.split(".");
	const last = keys.pop() as string;
	const parent = objectAt(body, keys);
	if (!parent || !Object.hasOwn(parent, last)) return;
	const value = parent[last];
	if (!isEmpty(value) && value !== harmless) throw new InvalidError(path, "is not supported by Gangway yet");
	delete parent[last];
}

export function objectAt(body: Json, keys: readonly string[]): Json | undefined {
	let here: unknown = body;
	for (const key of keys) {
		if (!isObject(here)) return undefined;
		here = here[key];
	}
	return isObject(here) ? here : undefined;
}

export function isObject(value: unknown): value is Json {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
	if (value === null || value === undefined || value === "") return true;
	return typeof value === "object" && Object.keys(value).length === 0;
}
