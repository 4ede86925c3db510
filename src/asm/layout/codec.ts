/**
 * Bytes to values and back, by a schema's C layout.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { reportAtCaller } from '../error-position.ts';
import {
  type ArrayLayout,
  type BytesLayout,
  type IntLayout,
  type Layout,
  layoutOf,
  type StructLayout,
} from './c-layout.ts';
import { UnionBytes } from './union-bytes.ts';

/**
 * Reads the value that starts `offset` bytes into `view`. RangeError where it reaches past the view's end.
 */
export type ValueDecoder<T extends TSchema> = (view: DataView, offset: number) => Static<T>;

type Read = (view: DataView, offset: number) => unknown;

const readers = new WeakMap<Layout, Read>();

/**
 * A function that reads values of that schema from bytes. What it gives is a plain value of the caller's own,
 * no view of the bytes. The bytes need no alignment.
 *
 * Compiled once a schema, to JavaScript source: an object literal of reads at fixed offsets is 3 to 9 times
 * as fast as a loop over the fields, and this runs for every event. So it needs a Node that may compile code
 * (no `--disallow-code-generation-from-strings`).
 *
 * Throws TypeError for a schema without a C layout.
 */
export function valueDecoder<T extends TSchema>(schema: T): ValueDecoder<T> {
  return readerOf(layoutOf(schema)) as ValueDecoder<T>;
}

/**
 * The bytes of a value, padding zeroed, as a new array of the schema's size.
 *
 * Nothing is cut or rounded: RangeError for a value that doesn't fit its field, TypeError for one of another
 * type and for a field that is missing or unknown; each names the path of the field (`attempt.comm`,
 * `ports[3]`).
 */
export function encodeValue<T extends TSchema>(schema: T, value: Static<T>): Uint8Array {
  return reportAtCaller(() => encodeLayout(layoutOf(schema), value, ''));
}

/** The bytes of a value of that layout. `path` is how messages name it. */
export function encodeLayout(layout: Layout, value: unknown, path: string): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  write(layout, value, new DataView(bytes.buffer), 0, path);
  return bytes;
}

// Reading

/** Reads values of that layout. */
export function readerOf(layout: Layout): Read {
  let read = readers.get(layout);
  if (read === undefined) {
    const elements: Read[] = [];
    const body = `return (v, o) => (${expression(layout, 0, elements)});`;
    read = new Function('chars', 'bytes', 'array', 'elements', body)(
      readChars,
      readBytes,
      readArray,
      elements,
    ) as Read;
    readers.set(layout, read);
  }
  return read;
}

/**
 * JavaScript source that reads `layout` at `at` bytes behind the offset `o` of the view `v`. Field names are
 * C identifiers.
 */
function expression(layout: Layout, at: number, elements: Read[]): string {
  const o = `o + ${at}`;
  switch (layout.kind) {
    case 'int':
      return intExpression(layout, at);
    case 'chars':
    case 'bytes':
      return `${layout.kind}(v, ${o}, ${layout.size})`;
    case 'array':
      elements.push(readerOf(layout.element));
      return `array(v, ${o}, ${layout.length}, ${layout.element.size}, elements[${elements.length - 1}])`;
    case 'struct':
    case 'union': {
      const fields = layout.fields.map(
        (field) => `${field.name}: ${expression(field.layout, at + field.offset, elements)}`,
      );
      return `{ ${fields.join(', ')} }`;
    }
  }
}

function intExpression({ size, signed, bigEndian, as }: IntLayout, at: number): string {
  const int = signed ? 'Int' : 'Uint';
  const little = !bigEndian;
  if (size < 8) return `v.get${int}${size * 8}(o + ${at}, ${little})`;
  if (as === 'bigint') return `v.getBig${int}64(o + ${at}, ${little})`;
  // The upper half times 2^32 is exact, so the sum is rounded once, to nearest and ties to even: as
  // Number(bigint) does.
  return `v.getUint32(o + ${at}, true) + v.get${int}32(o + ${at + 4}, true) * 4294967296`;
}

const decodeText = new TextDecoder('utf-8', { ignoreBOM: true });

/** Most texts are short and ASCII, for which a TextDecoder would take several times as long. */
function readChars(view: DataView, offset: number, size: number): string {
  inside(view, offset, size);
  let text = '';
  for (let i = 0; i < size; i++) {
    const byte = view.getUint8(offset + i);
    if (byte === 0) return text;
    if (byte > 0x7f) return readUtf8(view, offset, size);
    text += String.fromCharCode(byte);
  }
  return text;
}

function readUtf8(view: DataView, offset: number, size: number): string {
  const bytes = readBytes(view, offset, size);
  const end = bytes.indexOf(0);
  return decodeText.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function readBytes(view: DataView, offset: number, size: number): Uint8Array {
  inside(view, offset, size);
  return new Uint8Array(view.buffer, view.byteOffset + offset, size).slice();
}

/**
 * The view's end counts, not that of the buffer behind it; and a text too short is an error even if its NUL
 * comes first.
 */
function inside(view: DataView, offset: number, size: number): void {
  if (offset < 0 || offset + size > view.byteLength)
    throw new RangeError('Offset is outside the bounds of the DataView');
}

function readArray(view: DataView, offset: number, length: number, size: number, read: Read): unknown[] {
  const elements = [];
  for (let i = 0; i < length; i++) elements.push(read(view, offset + i * size));
  return elements;
}

// Writing

function write(layout: Layout, value: unknown, view: DataView, offset: number, path: string): void {
  switch (layout.kind) {
    case 'int':
      writeInt(layout, value, view, offset, path);
      break;
    case 'chars':
      copyTo(view, offset, textBytes(layout, value, path));
      break;
    case 'bytes':
      copyTo(view, offset, plainBytes(layout, value, path));
      break;
    case 'array':
      writeArray(layout, value, view, offset, path);
      break;
    case 'struct':
    case 'union':
      writeStruct(layout, value, view, offset, path);
      break;
  }
}

function writeArray(layout: ArrayLayout, value: unknown, view: DataView, offset: number, path: string): void {
  if (!Array.isArray(value)) throw wrongType(path, value, 'an array');
  const { element, length } = layout;
  if (value.length !== length)
    throw new RangeError(`${named(path)}: ${value.length} elements where there have to be ${length}`);
  for (const [i, item] of value.entries())
    write(element, item, view, offset + i * element.size, `${path}[${i}]`);
}

function writeStruct(
  layout: StructLayout,
  value: unknown,
  view: DataView,
  offset: number,
  path: string,
): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongType(path, value, 'an object');
  if (layout.kind === 'union') {
    writeUnion(layout, value, view, offset, path);
    return;
  }
  const values = fieldsOf(layout, value, path);
  for (const field of layout.fields) {
    const inside = within(path, field.name);
    const given = values.get(field.name);
    if (given === undefined) throw new TypeError(`${inside}: missing`);
    write(field.layout, given, view, offset + field.offset, inside);
  }
}

/** Writes the members that are there, each to bytes of its own first. */
function writeUnion(layout: StructLayout, value: object, view: DataView, offset: number, path: string): void {
  const values = fieldsOf(layout, value, path);
  const union = new UnionBytes(layout, named(path));
  for (const field of layout.fields)
    if (values.has(field.name))
      union.add(field, encodeLayout(field.layout, values.get(field.name), within(path, field.name)));
  union.requireMember();
  copyTo(view, offset, union.bytes);
}

/** The fields of an object that are defined. Throws TypeError if one is unknown. */
function fieldsOf(layout: StructLayout, value: object, path: string): Map<string, unknown> {
  const values = new Map(Object.entries(value).filter(([, given]) => given !== undefined));
  for (const name of values.keys())
    if (!layout.fields.some((field) => field.name === name))
      throw new TypeError(
        `${named(path)}: no field '${name}'; there are ${layout.fields.map((f) => f.name).join(', ')}`,
      );
  return values;
}

function within(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function writeInt(layout: IntLayout, value: unknown, view: DataView, offset: number, path: string): void {
  const { size, signed, bigEndian, as } = layout;
  if (typeof value !== as) throw wrongType(path, value, `a ${as}`);
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new RangeError(`${named(path)}: ${value} is no safe integer (at most 2^53 - 1 either way)`);
  const int = value as number | bigint;
  const [least, most] = limitsOf(layout);
  if (int < least || int > most)
    throw new RangeError(
      `${named(path)}: ${int} doesn't fit ${signed ? 's' : 'u'}${size * 8}, ${least} to ${most}`,
    );
  // What is below zero comes to the same bits as unsigned.
  if (size === 8) view.setBigUint64(offset, BigInt(int), !bigEndian);
  else if (size === 4) view.setUint32(offset, Number(int), !bigEndian);
  else if (size === 2) view.setUint16(offset, Number(int), !bigEndian);
  else view.setUint8(offset, Number(int));
}

const limits = new Map<IntLayout, readonly [bigint, bigint]>();

/** The least and the most that fits. Kept: to make them takes as long as writing the number. */
function limitsOf(layout: IntLayout): readonly [bigint, bigint] {
  let known = limits.get(layout);
  if (known === undefined) {
    const bits = BigInt(layout.size * 8);
    known = layout.signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
    limits.set(layout, known);
  }
  return known;
}

function textBytes(layout: BytesLayout, value: unknown, path: string): Uint8Array {
  if (typeof value !== 'string') throw wrongType(path, value, 'a string');
  const shown = JSON.stringify(value);
  if (value.includes('\0'))
    throw new RangeError(`${named(path)}: ${shown} contains a NUL, where its reader would stop`);
  if (/\p{Surrogate}/u.test(value))
    throw new RangeError(`${named(path)}: ${shown} has half a surrogate pair`);
  const bytes = new TextEncoder().encode(value);
  if (bytes.length >= layout.size)
    throw new RangeError(
      `${named(path)}: ${shown} and its NUL take ${bytes.length + 1} bytes, the field has ${layout.size}`,
    );
  return bytes;
}

function plainBytes(layout: BytesLayout, value: unknown, path: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrongType(path, value, 'a Uint8Array');
  if (value.length !== layout.size)
    throw new RangeError(`${named(path)}: ${value.length} bytes where there have to be ${layout.size}`);
  return value;
}

function copyTo(view: DataView, offset: number, bytes: Uint8Array): void {
  new Uint8Array(view.buffer, view.byteOffset + offset, bytes.length).set(bytes);
}

function wrongType(path: string, value: unknown, wanted: string): TypeError {
  const given =
    value === null ? 'null' : Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
  return new TypeError(`${named(path)}: ${wanted} is needed, not ${given}`);
}

function named(path: string): string {
  return path === '' ? 'value' : path;
}
