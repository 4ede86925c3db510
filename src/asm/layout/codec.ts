/** Decodes and encodes values by a schema's C layout. */
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
import { bytesText, textBytes } from './text.ts';
import { UnionBytes } from './union-bytes.ts';

/**
 * Decodes the value at `offset` bytes into a view. Throws RangeError if the value extends past the end of the
 * view. See `valueDecoder`.
 */
export type ValueDecoder<T extends TSchema> = (view: DataView, offset: number) => Static<T>;

type Read = (view: DataView, offset: number) => unknown;

const readers = new WeakMap<Layout, Read>();

/**
 * Returns a function that decodes values of a schema from bytes. The result is a plain value that does not
 * share memory with the bytes. The bytes need no alignment.
 *
 * The function is compiled to JavaScript source once for each schema: an object literal of reads at fixed
 * offsets is 3 to 9 times as fast as a loop over the fields, and this runs for every event. It needs a Node
 * that may compile code (no `--disallow-code-generation-from-strings`).
 *
 * @throws {TypeError} for a schema without a C layout.
 *
 * @example
 * import { struct, u16, u32, valueDecoder } from 'tsbpf';
 *
 * const Peer = struct({ pid: u32, port: u16 });
 * const decode = valueDecoder(Peer);
 * decode(new DataView(Uint8Array.of(1, 0, 0, 0, 80, 0, 0, 0).buffer), 0); // { pid: 1, port: 80 }
 */
export function valueDecoder<T extends TSchema>(schema: T): ValueDecoder<T> {
  return readerOf(layoutOf(schema)) as ValueDecoder<T>;
}

/**
 * Encodes a value as a new array of the schema's size, with zero padding. Nothing is truncated or rounded.
 *
 * @throws {RangeError} for a value that does not fit in its field.
 * @throws {TypeError} for a value of another type, and for a missing or unknown field. Messages name the path
 * of the field (`attempt.comm`, `ports[3]`).
 *
 * @example
 * import { encodeValue, struct, u16, u32 } from 'tsbpf';
 *
 * const Peer = struct({ pid: u32, port: u16 });
 * encodeValue(Peer, { pid: 1, port: 80 }); // 01 00 00 00 50 00 00 00
 */
export function encodeValue<T extends TSchema>(schema: T, value: Static<T>): Uint8Array {
  return reportAtCaller(() => encodeLayout(layoutOf(schema), value, ''));
}

/** Encodes a value of a layout. `path` is the value's name in messages. */
export function encodeLayout(layout: Layout, value: unknown, path: string): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  write(layout, value, new DataView(bytes.buffer), 0, path);
  return bytes;
}

// Reading

/** Returns the function that decodes values of a layout. */
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
 * The JavaScript source that reads `layout` at `at` bytes after the offset `o` of the view `v`. Field names
 * are C identifiers.
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
  // The upper half times 2^32 is exact, so the sum is rounded once, to nearest and ties to even, as by
  // Number(bigint).
  return `v.getUint32(o + ${at}, true) + v.get${int}32(o + ${at + 4}, true) * 4294967296`;
}

/** Texts that were read before: the same few names come again and again. A power of two. */
const TEXTS = 256;
/** The longest field in bytes whose texts are kept. */
const MAX_KEPT_BYTES = 64;
const texts: string[] = new Array(TEXTS).fill('');

/**
 * Most texts are short and ASCII; a TextDecoder would take several times as long for them. A text that was
 * read before costs no allocation.
 */
export function readChars(view: DataView, offset: number, size: number): string {
  inside(view, offset, size);
  let [length, hash] = [0, 0];
  for (; length < size; length++) {
    const byte = view.getUint8(offset + length);
    if (byte === 0) break;
    if (byte > 0x7f) return readUtf8(view, offset, size);
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  const slot = (hash ^ (hash >>> 8)) & (TEXTS - 1);
  const known = texts[slot] as string;
  if (known.length === length && isText(view, offset, known)) return known;
  let text = '';
  for (let i = 0; i < length; i++) text += String.fromCharCode(view.getUint8(offset + i));
  if (size <= MAX_KEPT_BYTES) texts[slot] = text;
  return text;
}

function isText(view: DataView, offset: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (view.getUint8(offset + i) !== text.charCodeAt(i)) return false;
  return true;
}

function readUtf8(view: DataView, offset: number, size: number): string {
  const bytes = readBytes(view, offset, size);
  const end = bytes.indexOf(0);
  return bytesText(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The longest field in bytes that is copied one by one: a native copy costs as much as 64 of them. */
const MAX_LOOP_BYTES = 64;

function readBytes(view: DataView, offset: number, size: number): Uint8Array {
  inside(view, offset, size);
  if (size > MAX_LOOP_BYTES) return new Uint8Array(view.buffer, view.byteOffset + offset, size).slice();
  return copyBytes(view, offset, new Uint8Array(size));
}

/** Copies bytes of a view to an array, as many as it has, and returns it. */
export function copyBytes(view: DataView, offset: number, bytes: Uint8Array): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = view.getUint8(offset + i);
  return bytes;
}

/**
 * Checks against the end of the view, not of its buffer. A field past the end is an error even if its NUL
 * comes before.
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
      copyTo(view, offset, charsBytes(layout, value, path));
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
    throw new RangeError(`${named(path)}: ${value.length} elements, expected ${length}`);
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

/** Writes the members that the value has, each to separate bytes first. */
function writeUnion(layout: StructLayout, value: object, view: DataView, offset: number, path: string): void {
  const values = fieldsOf(layout, value, path);
  const union = new UnionBytes(layout, named(path));
  for (const field of layout.fields)
    if (values.has(field.name))
      union.add(field, encodeLayout(field.layout, values.get(field.name), within(path, field.name)));
  union.requireMember();
  copyTo(view, offset, union.bytes);
}

/** The defined fields of an object. Throws TypeError for an unknown field. */
function fieldsOf(layout: StructLayout, value: object, path: string): Map<string, unknown> {
  const values = new Map(Object.entries(value).filter(([, given]) => given !== undefined));
  for (const name of values.keys())
    if (!layout.fields.some((field) => field.name === name))
      throw new TypeError(
        `${named(path)}: unknown field '${name}'; the fields are ${layout.fields.map((f) => f.name).join(', ')}`,
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
    throw new RangeError(`${named(path)}: ${value} is not a safe integer (-(2^53 - 1) to 2^53 - 1)`);
  const int = value as number | bigint;
  const [min, max] = limitsOf(layout);
  if (int < min || int > max)
    throw new RangeError(
      `${named(path)}: ${int} does not fit in ${signed ? 's' : 'u'}${size * 8} (${min} to ${max})`,
    );
  // Negative numbers have the same bits as their unsigned equivalents.
  if (size === 8) view.setBigUint64(offset, BigInt(int), !bigEndian);
  else if (size === 4) view.setUint32(offset, Number(int), !bigEndian);
  else if (size === 2) view.setUint16(offset, Number(int), !bigEndian);
  else view.setUint8(offset, Number(int));
}

const limits = new Map<IntLayout, readonly [bigint, bigint]>();

/**
 * The minimum and the maximum of a layout. Cached, because computing them takes as long as writing the
 * number.
 */
function limitsOf(layout: IntLayout): readonly [bigint, bigint] {
  let known = limits.get(layout);
  if (known === undefined) {
    const bits = BigInt(layout.size * 8);
    known = layout.signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
    limits.set(layout, known);
  }
  return known;
}

function charsBytes(layout: BytesLayout, value: unknown, path: string): Uint8Array {
  if (typeof value !== 'string') throw wrongType(path, value, 'a string');
  const shown = JSON.stringify(value);
  if (value.includes('\0'))
    throw new RangeError(`${named(path)}: ${shown} contains a NUL, which would end the text`);
  const bytes = textBytes(value);
  if (bytes === undefined) throw new RangeError(`${named(path)}: ${shown} contains a lone surrogate`);
  if (bytes.length >= layout.size)
    throw new RangeError(
      `${named(path)}: ${shown} takes ${bytes.length + 1} bytes with its NUL; the field has ${layout.size}`,
    );
  return bytes;
}

function plainBytes(layout: BytesLayout, value: unknown, path: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrongType(path, value, 'a Uint8Array');
  if (value.length !== layout.size)
    throw new RangeError(`${named(path)}: ${value.length} bytes, expected ${layout.size}`);
  return value;
}

function copyTo(view: DataView, offset: number, bytes: Uint8Array): void {
  new Uint8Array(view.buffer, view.byteOffset + offset, bytes.length).set(bytes);
}

function wrongType(path: string, value: unknown, wanted: string): TypeError {
  const type = typeof value === 'object' ? 'an object' : `a ${typeof value}`;
  const given = value === null ? 'null' : Array.isArray(value) ? 'an array' : type;
  return new TypeError(`${named(path)}: expected ${wanted}, got ${given}`);
}

function named(path: string): string {
  return path === '' ? 'value' : path;
}
