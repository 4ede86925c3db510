/**
 * Encodes and decodes keys of maps without loss: different bytes are different keys in JavaScript, and every
 * decoded key encodes to its original bytes. Programs may write bytes as a key that no value of the schema
 * represents.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { hasFields, type Layout, layoutOf, type StructLayout } from './c-layout.ts';
import { encodeLayout, encodeValue, readerOf, type ValueDecoder, valueDecoder } from './codec.ts';
import { bytesText, textBytes } from './text.ts';
import { paddingOf, UnionBytes } from './union-bytes.ts';

/**
 * Encodes and decodes the keys of one map. Some bytes have no plain value:
 *
 * - `chars`: the text continues past its first NUL if other bytes follow, and may fill the field without a
 *   NUL.
 * - `u64n` and `s64n`: an unsafe integer becomes a bigint.
 * - Padding: the codec remembers nonzero padding of each object that it decoded. A copy of the object loses
 *   it.
 */
export class KeyCodec<K extends TSchema> {
  readonly #schema: K;
  readonly #layout: Layout;
  readonly #decode: ValueDecoder<K>;
  readonly #inexact: boolean;
  /** Whether a decoded key is exact. Most are, so this is fast. */
  readonly #isExact: IsExact;
  /** For each byte, whether it is padding. */
  readonly #padding: readonly boolean[];
  readonly #hasPadding: boolean;
  /** The bytes of decoded objects with nonzero padding. */
  readonly #padded = new WeakMap<object, Uint8Array>();

  /** Throws TypeError for a schema without a C layout. */
  constructor(schema: K) {
    this.#schema = schema;
    this.#layout = layoutOf(schema);
    this.#decode = valueDecoder(schema);
    this.#inexact = isInexact(this.#layout);
    this.#isExact = exactness(this.#layout);
    this.#padding = paddingOf(this.#layout);
    this.#hasPadding = this.#padding.includes(true);
  }

  /** Decodes a key. The caller owns the result. */
  decode(bytes: Uint8Array): Static<K> {
    return this.decodeAt(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
  }

  /** Decodes the key at an offset of a view. The caller owns the result. */
  decodeAt(view: DataView, offset: number): Static<K> {
    const plain: unknown = this.#decode(view, offset);
    const key = this.#isExact(plain, view, offset) ? plain : exact(this.#layout, plain, view, offset);
    if (this.#hasPadding && isObject(key)) this.#rememberPadding(key, view, offset);
    return key as Static<K>;
  }

  #rememberPadding(key: object, view: DataView, offset: number): void {
    const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, this.#layout.size);
    if (this.#padding.some((isPadding, at) => isPadding && bytes[at] !== 0))
      this.#padded.set(key, bytes.slice());
  }

  /**
   * Encodes a key. Throws RangeError and TypeError as `encodeValue` does, for keys that no bytes decode to.
   */
  encode(key: Static<K>): Uint8Array {
    const patches: Patch[] = [];
    const plain = this.#inexact ? withoutInexact(this.#layout, key, 0, patches) : key;
    const bytes = encodeValue(this.#schema, plain as Static<K>);
    for (const { offset, bytes: part } of patches) bytes.set(part, offset);
    const padded = isObject(key) ? this.#padded.get(key) : undefined;
    // The caller may have changed the object after decoding.
    return padded?.every((byte, at) => this.#padding[at] || byte === bytes[at]) ? padded : bytes;
  }
}

/** Bytes to write over the result of `encodeValue`. */
interface Patch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Whether some bytes of a layout have no plain value. */
function isInexact(layout: Layout): boolean {
  switch (layout.kind) {
    case 'int':
      return layout.size === 8 && layout.as === 'number';
    case 'chars':
      return true;
    case 'bytes':
      return false;
    case 'array':
      return isInexact(layout.element);
    case 'struct':
    case 'union':
      return layout.fields.some((field) => isInexact(field.layout));
  }
}

/** Whether `plain`, decoded from the bytes at an offset, is the exact value of these bytes. */
type IsExact = (plain: unknown, view: DataView, offset: number) => boolean;

/** Returns the check of a layout. It may take an exact text for an inexact one, but not vice versa. */
function exactness(layout: Layout): IsExact {
  if (!isInexact(layout)) return () => true;
  switch (layout.kind) {
    case 'int':
      return Number.isSafeInteger;
    case 'chars': {
      const { size } = layout;
      return (plain, view, offset) => {
        const text = plain as string;
        for (let at = 0; at < size; at++) {
          const byte = view.getUint8(offset + at);
          if (at < text.length ? byte !== text.charCodeAt(at) || byte > 0x7f : byte !== 0) return false;
        }
        return true;
      };
    }
    case 'array': {
      const isExact = exactness(layout.element);
      return (plain, view, offset) =>
        (plain as unknown[]).every((each, index) =>
          isExact(each, view, offset + index * layout.element.size),
        );
    }
    case 'struct':
    case 'union': {
      const inexact = layout.fields
        .filter((field) => isInexact(field.layout))
        .map(({ name, offset, layout: inner }) => ({ name, at: offset, isExact: exactness(inner) }));
      return (plain, view, offset) => {
        for (const { name, at, isExact } of inexact)
          if (!isExact((plain as Record<string, unknown>)[name], view, offset + at)) return false;
        return true;
      };
    }
    default:
      return () => true;
  }
}

/** Returns the value with exact texts and numbers; `plain` is the decoded value of the same bytes. */
function exact(layout: Layout, plain: unknown, view: DataView, offset: number): unknown {
  if (!isInexact(layout)) return plain;
  switch (layout.kind) {
    case 'int':
      if (Number.isSafeInteger(plain)) return plain;
      return layout.signed
        ? view.getBigInt64(offset, !layout.bigEndian)
        : view.getBigUint64(offset, !layout.bigEndian);
    case 'chars':
      return exactText(new Uint8Array(view.buffer, view.byteOffset + offset, layout.size), plain as string);
    case 'array':
      return (plain as unknown[]).map((element, index) =>
        exact(layout.element, element, view, offset + index * layout.element.size),
      );
    case 'struct':
    case 'union':
      return Object.fromEntries(
        layout.fields.map((field) => [
          field.name,
          exact(field.layout, (plain as Record<string, unknown>)[field.name], view, offset + field.offset),
        ]),
      );
    default:
      return plain;
  }
}

/** Replaces texts and numbers by values that `encodeValue` accepts, and adds their own bytes to `patches`. */
function withoutInexact(layout: Layout, value: unknown, offset: number, patches: Patch[]): unknown {
  if (!isInexact(layout)) return value;
  if (layout.kind === 'int') {
    if (typeof value !== 'bigint' || !fits(value, layout.signed)) return value;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), !layout.bigEndian);
    patches.push({ offset, bytes });
    return 0;
  }
  if (layout.kind === 'chars') {
    const bytes = typeof value === 'string' ? bytesOfText(value, layout.size) : undefined;
    if (bytes === undefined) return value;
    patches.push({ offset, bytes });
    return '';
  }
  if (layout.kind === 'array' && Array.isArray(value))
    return value.map((element, index) =>
      withoutInexact(layout.element, element, offset + index * layout.element.size, patches),
    );
  if (!hasFields(layout) || !isObject(value) || Array.isArray(value)) return value;
  if (layout.kind === 'union') return withoutMembers(layout, value, offset, patches);
  const fields = new Map(layout.fields.map((field) => [field.name, field]));
  return Object.fromEntries(
    Object.entries(value).map(([name, inside]) => {
      const field = fields.get(name);
      return [name, field ? withoutInexact(field.layout, inside, offset + field.offset, patches) : inside];
    }),
  );
}

/** Replaces a union by zeros, and adds the bytes of its members to `patches`. */
function withoutMembers(layout: StructLayout, value: object, offset: number, patches: Patch[]): unknown {
  const values = new Map(Object.entries(value).filter(([, given]) => given !== undefined));
  const members = layout.fields.filter(({ name }) => values.has(name));
  // `encodeValue` reports the error.
  if (members.length === 0 || members.length < values.size) return value;
  const union = new UnionBytes(layout, 'union');
  for (const member of members) {
    const inside: Patch[] = [];
    const plain = withoutInexact(member.layout, values.get(member.name), 0, inside);
    const bytes = encodeLayout(member.layout, plain, member.name);
    for (const patch of inside) bytes.set(patch.bytes, patch.offset);
    union.add(member, bytes);
  }
  patches.push({ offset, bytes: union.bytes });
  return readerOf(layout)(new DataView(new ArrayBuffer(layout.size)), 0);
}

function fits(value: bigint, signed: boolean): boolean {
  return (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) === value;
}

/** The text of a whole field; `plain` is its text up to the first NUL. */
function exactText(field: Uint8Array, plain: string): string {
  const end = field.findLastIndex((byte) => byte !== 0) + 1;
  const content = field.subarray(0, end);
  if (content.every((byte) => byte > 0 && byte < 0x80)) return plain;
  return bytesText(content);
}

/** The bytes of a text from `exactText`, without trailing zeros; undefined if there are none. */
function bytesOfText(text: string, size: number): Uint8Array | undefined {
  if (text.endsWith('\0')) return undefined;
  const bytes = textBytes(text);
  return bytes && bytes.length <= size ? bytes : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
