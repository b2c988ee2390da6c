/** The few schema shapes that the dialects are built from. */
import { type Static, type TObject, type TProperties, type TSchema, type TUnsafe, Type } from "typebox";

/** An object without any other keys: an unknown parameter is an error, never ignored. */
export function strictObject<P extends TProperties>(properties: P, options: object = {}): TObject<P> {
	return Type.Object(properties, { ...options, additionalProperties: false });
}

/**
 * `T` or null. Written as a list of types and not as a union, so that an error names the one wrong field
 * instead of every branch that did not match.
 */
export function nullable<T extends TSchema>(schema: T): TUnsafe<Static<T> | null> {
	const { type, enum: values, $id: _, ...rest } = schema as { type?: string; enum?: unknown[]; $id?: string };
	return Type.Unsafe({ ...rest, type: [type, "null"], ...(values && { enum: [...values, null] }) });
}

/** An optional property that may also be null: both mean "not given". */
export function maybe<T extends TSchema>(schema: T) {
	return Type.Optional(nullable(schema));
}

export function choice<const V extends readonly string[]>(values: V, options: object = {}): TUnsafe<V[number]> {
	return Type.Unsafe({ ...options, type: "string", enum: [...values] });
}

/** Not `Type.Record`: its pattern `^.*$` does not match a key with a line break, whose value then goes unchecked. */
export function mapOf<T extends TSchema>(value: T, options: object = {}): TUnsafe<Record<string, Static<T>>> {
	return Type.Unsafe({ ...options, type: "object", additionalProperties: value });
}

export function stringMap(options: object = {}): TUnsafe<Record<string, string>> {
	return mapOf(Type.String(), options);
}
