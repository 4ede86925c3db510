/**
 * Validates values against the subset of JSON Schema that this project uses, and describes the first
 * violation. TypeBox's validator would make the bundle of the command 50% larger.
 *
 * Source: JSON Schema (draft 2020-12), Validation.
 */
import { excerpt } from '../text.ts';

type Schema = Readonly<Record<string, unknown>>;
/**
 * Checks one keyword of a schema, and describes the violation. `name` is the name of the value in the
 * message.
 */
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

/** The checks by keyword. `type` is checked first, so the other checks can rely on it. */
const CHECKS: Readonly<Record<string, Check>> = {
  type: (value, type: string, name) =>
    TYPES[type]?.(value) ? undefined : `${name} is ${excerpt(value)}, expected ${type}`,
  const: (value, only: unknown, name) =>
    value === only ? undefined : `${name} is ${excerpt(value)}, expected ${excerpt(only)}`,
  anyOf(value, some: readonly Schema[], name) {
    if (some.some((schema) => violation(schema, value) === undefined)) return undefined;
    return `${name} is ${excerpt(value)}, expected ${some.map(({ const: only }) => excerpt(only)).join(' or ')}`;
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
      : `${name} is ${excerpt(value)}, expected ${title ?? `a match of ${pattern}`}`,
  maxItems: (value, most: number, name) =>
    (value as readonly unknown[]).length > most ? `${name} has more than ${most} items` : undefined,
  items: (value, schema: Schema, name) =>
    first(value as readonly unknown[], (each) => violation(schema, each, `an item of ${name}`)),
  required: (value, names: readonly string[]) =>
    first(names, (name) => (Object.hasOwn(value as Schema, name) ? undefined : `it has no ${name}`)),
  properties: (value, schemas: Readonly<Record<string, Schema>>) =>
    first(Object.entries(schemas), ([name, schema]) =>
      Object.hasOwn(value as Schema, name) ? violation(schema, (value as Schema)[name], name) : undefined,
    ),
  if: (value, condition: Schema, _, schema) =>
    violation(schema[violation(condition, value) === undefined ? 'then' : 'else'] ?? {}, value),
  additionalProperties: (value, _, __, { properties }) =>
    first(Object.keys(value as Schema), (name) =>
      Object.hasOwn(properties as Schema, name) ? undefined : `it has an unknown field ${excerpt(name)}`,
    ),
};
/** Keywords that do not restrict the value, or only with `if`. */
const ANNOTATIONS = new Set(['$schema', '$defs', 'title', 'description', 'then', 'else']);

/**
 * Describes the first violation of a schema, without a full stop; undefined if the value is valid.
 * @throws {RangeError} for a keyword that is not supported.
 */
export function violation(schema: object, value: unknown, name = 'it'): string | undefined {
  const { type, ...rules } = schema as Schema;
  const wrongType = type === undefined ? undefined : CHECKS.type?.(value, type as never, name, rules);
  return (
    wrongType ??
    first(Object.entries(rules), ([keyword, rule]) => {
      if (ANNOTATIONS.has(keyword)) return undefined;
      const check = CHECKS[keyword];
      if (!check) throw new RangeError(`the JSON Schema keyword '${keyword}' is not supported`);
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
