/**
 * Values against a JSON Schema, as far as the schemas here go, with the first fault in words. TypeBox's, which have words too, would make
 * the command's bundle half as large again.
 *
 * Source: JSON Schema (draft 2020-12), Validation.
 */
import { excerpt } from '../text.ts';

type Schema = Readonly<Record<string, unknown>>;
/** What is wrong with a value by one rule of its schema; `name` is what the value is called. */
type Check = (value: unknown, rule: never, name: string, schema: Schema) => string | undefined;

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  number: Number.isFinite, // JSON has no infinity, but 1e999 becomes one
  integer: Number.isInteger,
};

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Rules by their keyword. One about a type that the value isn't of holds. */
const CHECKS: Readonly<Record<string, Check>> = {
  type: (value, type: string, name) =>
    TYPES[type]?.(value) ? undefined : `${name} is ${excerpt(value)}, and no ${type}`,
  const: (value, only: unknown, name) =>
    value === only ? undefined : `${name} is ${excerpt(value)}, not ${excerpt(only)}`,
  anyOf(value, some: readonly Schema[], name) {
    if (some.some((schema) => fault(schema, value) === undefined)) return undefined;
    return `${name} is ${excerpt(value)}, not ${some.map(({ const: only }) => excerpt(only)).join(' or ')}`;
  },
  minimum: (value, least: number, name) =>
    (value as number) < least ? `${name} is ${value}, less than ${least}` : undefined,
  maximum: (value, most: number, name) =>
    (value as number) > most ? `${name} is ${value}, more than ${most}` : undefined,
  maxLength: (value, most: number, name) =>
    (value as string).length > most ? `${name} has more than ${most} characters` : undefined,
  pattern: (value, pattern: string, name, { title }) =>
    new RegExp(pattern, 'u').test(value as string)
      ? undefined
      : `${name} is ${excerpt(value)}, and no ${title ?? `match of ${pattern}`}`,
  maxItems: (value, most: number, name) =>
    (value as readonly unknown[]).length > most ? `${name} has more than ${most} items` : undefined,
  items: (value, schema: Schema, name) =>
    first(value as readonly unknown[], (each) => fault(schema, each, `one of ${name}`)),
  required: (value, names: readonly string[]) =>
    first(names, (name) => (Object.hasOwn(value as Schema, name) ? undefined : `it has no ${name}`)),
  properties: (value, schemas: Readonly<Record<string, Schema>>) =>
    first(Object.entries(schemas), ([name, schema]) =>
      Object.hasOwn(value as Schema, name) ? fault(schema, (value as Schema)[name], name) : undefined,
    ),
  additionalProperties: (value, _, __, { properties }) =>
    first(Object.keys(value as Schema), (name) =>
      Object.hasOwn(properties as Schema, name)
        ? undefined
        : `it has a field ${excerpt(name)}, which is none of its kind`,
    ),
};
/** What tells people something, and asks for nothing. */
const ANNOTATIONS = new Set(['$schema', '$defs', 'title', 'description']);

/**
 * The first fault of a value, a sentence without a full stop; undefined where it is valid.
 * @throws {RangeError} for a schema with a keyword that isn't known here.
 */
export function fault(schema: object, value: unknown, name = 'it'): string | undefined {
  // The type first: what comes after may rely on it.
  const { type, ...rules } = schema as Schema;
  const wrongType = type === undefined ? undefined : CHECKS.type?.(value, type as never, name, rules);
  return (
    wrongType ??
    first(Object.entries(rules), ([keyword, rule]) => {
      if (ANNOTATIONS.has(keyword)) return undefined;
      const check = CHECKS[keyword];
      if (!check) throw new RangeError(`no check for '${keyword}'`);
      return check(value, rule as never, name, rules);
    })
  );
}

function first<T>(things: readonly T[], find: (thing: T) => string | undefined): string | undefined {
  for (const thing of things) {
    const found = find(thing);
    if (found !== undefined) return found;
  }
  return undefined;
}
