import type { FastifySchemaCompiler, FastifySchemaValidationError } from "fastify";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { InvalidError } from "../errors.js";

/**
 * Checks a part of a request against its TypeBox schema: nothing is removed and nothing is coerced, but for the query
 * string, where everything arrives as text.
 */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
	const check = Compile(schema);
	return (given: unknown) => {
		const value = httpPart === "querystring" ? fromText(schema, given) : given;
		if (check.Check(value)) return { value };
		return { error: toInvalidError(check.Errors(value) as FastifySchemaValidationError[]) };
	};
};

function fromText(schema: TSchema, query: unknown): unknown {
	const { properties = {} } = schema as { properties?: Record<string, { type?: string }> };
	const entries = Object.entries(query as Record<string, unknown>);
	return Object.fromEntries(entries.map(([key, text]) => [key, convert(properties[key]?.type, text)]));
}

function convert(type: string | undefined, text: unknown): unknown {
	if (typeof text !== "string") return text;
	if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
	if (type === "integer" && /^-?\d{1,15}$/.test(text)) return Number(text);
	return text;
}

/** Names the one field that is wrong, as the client spelled it: `launch_parameters.user_parameters.uid: must be ≥ 0`. */
function toInvalidError(errors: FastifySchemaValidationError[]): InvalidError {
	// An unknown key is reported for the key itself ("schema is false") and for its object; the second says which keys.
	const error = errors.find(({ keyword }) => keyword !== "boolean") ?? errors[0];
	if (!error) return new InvalidError("body", "is not valid");
	const path = segments(error.instancePath);
	const { params } = error as { params: Record<string, unknown> };
	const inside = first(params.additionalProperties) ?? first(params.requiredProperties);
	return new InvalidError(fieldName(inside === undefined ? path : [...path, inside]), explain(error.keyword, params));
}

function first(list: unknown): string | undefined {
	return Array.isArray(list) ? String(list[0]) : undefined;
}

function segments(pointer: string): string[] {
	const parts = pointer.split("/").slice(1);
	// RFC 6901, section 4: ~1 before ~0.
	return parts.map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function fieldName(path: readonly string[]): string {
	if (path.length === 0) return "body";
	return path.reduce(
		(name, part) => (/^\d+$/.test(part) ? `${name}[${part}]` : name === "" ? part : `${name}.${part}`),
		"",
	);
}

function explain(keyword: string, params: Record<string, unknown>): string {
	switch (keyword) {
		case "additionalProperties":
			return "is not a known parameter";
		case "required":
			return "is required";
		case "minimum":
			return `must be ≥ ${params.limit}`;
		case "exclusiveMinimum":
			return `must be > ${params.limit}`;
		case "maximum":
			return `must be ≤ ${params.limit}`;
		case "minLength":
		case "minItems":
			return "must not be empty";
		case "maxLength":
			return `must have at most ${params.limit} characters`;
		case "enum":
			return `must be one of ${(params.allowedValues as unknown[]).filter((value) => value !== null).join(", ")}`;
		case "type":
			return `must be of type ${[params.type].flat().join(" or ")}`;
		default:
			return "is not valid";
	}
}
