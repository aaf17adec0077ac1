import { SCHEMAS } from "./frames.ts";

/** The schema of a value: the name of a JSON type, alternatives, an enumeration, an array, or a reference. */
type Schema =
  | string
  | readonly Schema[]
  | { readonly enum: readonly unknown[] }
  | { readonly items: Schema }
  | { readonly ref: string };

interface ObjectSchema {
  readonly required: readonly string[];
  readonly fields: Readonly<Record<string, Schema>>;
}

const OBJECTS: Readonly<Record<string, ObjectSchema>> = SCHEMAS;

/** Whether a value matches the schema of that name; fields that the schema does not name are ignored. */
export function isValid(name: keyof typeof SCHEMAS, value: unknown): boolean {
  return matches({ ref: name }, value);
}

function matches(schema: Schema, value: unknown): boolean {
  if (typeof schema === "string") return isOfType(schema, value);
  if (isList(schema)) return schema.some((option) => matches(option, value));
  if ("enum" in schema) return schema.enum.includes(value);
  if ("items" in schema) return Array.isArray(value) && value.every((item) => matches(schema.items, item));
  const object = OBJECTS[schema.ref];
  if (object === undefined || typeof value !== "object" || value === null || Array.isArray(value))
    return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return (
    object.required.every((field) => Object.hasOwn(fields, field)) &&
    Object.entries(object.fields).every(
      ([field, allowed]) => !Object.hasOwn(fields, field) || matches(allowed, fields[field]),
    )
  );
}

function isList(schema: Schema): schema is readonly Schema[] {
  return Array.isArray(schema);
}

function isOfType(type: string, value: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "integer") return Number.isSafeInteger(value);
  return typeof value === type;
}
