/**
 * C layouts of schemas: sizes, offsets and padding as a C compiler computes them on a 64-bit little-endian
 * machine (System V x86-64 psABI 3.1, AAPCS64 5; the two agree on everything used here).
 */

import type { TSchema } from '@sinclair/typebox';
import { withSourcePosition } from '../error-position.ts';

/** The layout of an integer of 1, 2, 4 or 8 bytes, aligned to its size. `as` is its JavaScript type. */
export interface IntLayout {
  readonly kind: 'int';
  readonly size: 1 | 2 | 4 | 8;
  readonly align: 1 | 2 | 4 | 8;
  readonly signed: boolean;
  readonly bigEndian: boolean;
  readonly as: 'number' | 'bigint';
}

/** The layout of `size` bytes: NUL-terminated text (`chars`) or raw bytes. */
export interface BytesLayout {
  readonly kind: 'chars' | 'bytes';
  readonly size: number;
  readonly align: 1;
}

/** The layout of an array of `length` elements. */
export interface ArrayLayout {
  readonly kind: 'array';
  readonly size: number;
  readonly align: number;
  readonly element: Layout;
  readonly length: number;
}

/** A field of a struct, `offset` bytes from its start. */
export interface FieldLayout {
  readonly name: string;
  readonly offset: number;
  readonly layout: Layout;
}

/** Padding of a struct: bytes that belong to no field. `after` names the field before them. */
export interface Padding {
  readonly offset: number;
  readonly size: number;
  readonly after: string;
}

/**
 * The layout of a struct, with its fields by offset and the padding between and after them; or of a union,
 * with all members at offset 0 and the padding after the longest one.
 */
export interface StructLayout {
  readonly kind: 'struct' | 'union';
  readonly size: number;
  readonly align: number;
  readonly fields: readonly FieldLayout[];
  readonly padding: readonly Padding[];
}

/** The layout of a schema in memory. Sizes, offsets and alignments are in bytes. */
export type Layout = IntLayout | BytesLayout | ArrayLayout | StructLayout;

/**
 * Whether a layout is a struct or a union.
 *
 * @example
 * import { hasFields, layoutOf, struct, u32 } from 'tsbpf';
 * hasFields(layoutOf(struct({ pid: u32 }))); // true
 */
export function hasFields(layout: Layout): layout is StructLayout {
  return layout.kind === 'struct' || layout.kind === 'union';
}

/** The scalars, one row for each type: size in bytes, sign, JavaScript type, byte order. */
const SCALARS = {
  u8: scalar(1, false, 'number'),
  u16: scalar(2, false, 'number'),
  u32: scalar(4, false, 'number'),
  u64: scalar(8, false, 'bigint'),
  u64n: scalar(8, false, 'number'),
  s8: scalar(1, true, 'number'),
  s16: scalar(2, true, 'number'),
  s32: scalar(4, true, 'number'),
  s64: scalar(8, true, 'bigint'),
  s64n: scalar(8, true, 'number'),
  u16be: scalar(2, false, 'number', true),
  u32be: scalar(4, false, 'number', true),
  u64be: scalar(8, false, 'bigint', true),
  s16be: scalar(2, true, 'number', true),
  s32be: scalar(4, true, 'number', true),
  s64be: scalar(8, true, 'bigint', true),
} as const satisfies Record<string, IntLayout>;

/** The names of the scalar schemas. */
export type ScalarName = keyof typeof SCALARS;

/** The values of a schema's `ctype` keyword, which gives the schema its layout. */
export type CType = ScalarName | 'chars' | 'bytes' | 'none' | 'array' | 'struct' | 'union';

function scalar(size: 1 | 2 | 4 | 8, signed: boolean, as: 'number' | 'bigint', bigEndian = false): IntLayout {
  return Object.freeze({ kind: 'int', size, align: size, signed, bigEndian, as });
}

/** Returns the layout of a scalar. */
export function scalarLayout(name: ScalarName): IntLayout {
  return SCALARS[name];
}

const known = new WeakMap<TSchema, Layout>();

/**
 * Returns the C layout of a schema from `u32`, `chars`, `struct` and so on, or of a copy of one (`{ ...u32,
 * description: 'process id' }`). Computes it once for each schema; the result is frozen.
 *
 * @throws {TypeError} for any other schema, which has no C layout.
 *
 * @example
 * import { chars, layoutOf, struct, u32, u64 } from 'tsbpf';
 * layoutOf(struct({ pid: u32, startNs: u64, comm: chars(16) })).size; // 32
 */
export function layoutOf(schema: TSchema): Layout {
  let layout = known.get(schema);
  if (layout === undefined) {
    layout = compute(schema, '');
    known.set(schema, layout);
  }
  return layout;
}

function compute(schema: TSchema, path: string): Layout {
  const ctype: unknown = schema?.ctype;
  if (typeof ctype === 'string' && Object.hasOwn(SCALARS, ctype)) return SCALARS[ctype as ScalarName];
  switch (ctype) {
    case 'chars':
    case 'bytes':
      return Object.freeze({ kind: ctype, size: count(schema.size, 'bytes', path), align: 1 });
    case 'none':
      return Object.freeze({ kind: 'bytes', size: 0, align: 1 });
    case 'array':
      return arrayLayout(compute(schema.items, `${path}[]`), count(schema.minItems, 'elements', path));
    case 'struct':
    case 'union':
      return structLayout(schema, ctype, path);
    default:
      throw withSourcePosition(
        new TypeError(
          `${at(path)}this schema has no C layout: use u8 to u64, s8 to s64, u64n, s64n, u16be, u32be, ` +
            'chars, bytes, array, struct or union',
        ),
      );
  }
}

function arrayLayout(element: Layout, length: number): ArrayLayout {
  return Object.freeze({
    kind: 'array',
    size: element.size * length,
    align: element.align,
    element,
    length,
  });
}

function structLayout(schema: TSchema, kind: StructLayout['kind'], path: string): StructLayout {
  const properties: Record<string, TSchema> = schema.properties;
  const required: readonly string[] = schema.required ?? [];
  const fields: FieldLayout[] = [];
  const padding: Padding[] = [];
  let end = 0;
  let align = 1;
  /** The field with the largest end. */
  let last = '';
  const padTo = (boundary: number) => {
    const offset = roundUp(end, boundary);
    if (offset > end) padding.push(Object.freeze({ offset: end, size: offset - end, after: last }));
    end = offset;
  };
  for (const [name, field] of Object.entries(properties)) {
    const inside = path === '' ? name : `${path}.${name}`;
    checkFieldName(name, inside);
    if (kind === 'struct' && !required.includes(name))
      throw withSourcePosition(new TypeError(`${inside}: a field of a C struct cannot be optional`));
    const layout = compute(field, inside);
    if (kind === 'struct') padTo(layout.align);
    const offset = kind === 'struct' ? end : 0;
    fields.push(Object.freeze({ name, offset, layout }));
    if (offset + layout.size > end) {
      end = offset + layout.size;
      last = name;
    }
    align = Math.max(align, layout.align);
  }
  if (fields.length === 0)
    throw withSourcePosition(new TypeError(`${at(path)}a ${kind} needs at least one field`));
  padTo(align);
  return Object.freeze({
    kind,
    size: end,
    align,
    fields: Object.freeze(fields),
    padding: Object.freeze(padding),
  });
}

/**
 * Field names are C identifiers: JavaScript would move a name like `0` to the front, and `__proto__` is not a
 * property.
 */
function checkFieldName(name: string, path: string): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || name === '__proto__')
    throw withSourcePosition(new TypeError(`${path}: the name of a field must be a C identifier`));
}

function count(value: unknown, of: string, path: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw withSourcePosition(
      new RangeError(`${at(path)}the number of ${of} must be a positive integer, not ${value}`),
    );
  return value as number;
}

function at(path: string): string {
  return path === '' ? '' : `${path}: `;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/**
 * Whether two layouts have the same fields at the same offsets.
 *
 * @example
 * import { layoutOf, s32, sameLayout, u32 } from 'tsbpf';
 * sameLayout(layoutOf(u32), layoutOf(s32)); // false
 */
export function sameLayout(a: Layout, b: Layout): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
