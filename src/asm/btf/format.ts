/**
 * The BTF format: what kinds of types there are, how large each is, and how one of them is decoded.
 *
 * Source: include/uapi/linux/btf.h, Documentation/bpf/btf.rst.
 */

/** BTF that isn't as the format says. The message names what and where. */
export class BtfError extends Error {
  override readonly name = 'BtfError';
}

/** A field of a struct or union. A bit field has a `bitSize`; offsets are in bits from the start. */
export interface BtfMember {
  /** Empty for an anonymous struct or union. */
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  readonly bitSize?: number;
}

/** One value of an enum; a bigint where the enum is one of 64 bits. */
export interface BtfEnumerator {
  readonly name: string;
  readonly value: number | bigint;
}

/**
 * One decoded type. `type`, `returns`, `element` and `index` are ids of other types, 0 being void; sizes are
 * in bytes.
 */
export type BtfType =
  | { readonly kind: 'void' }
  | {
      readonly kind: 'int';
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bool: boolean;
      /** Bits in use, from bit `bitOffset`: fewer than the size has only in old encodings of bit fields. */
      readonly bits: number;
      readonly bitOffset: number;
    }
  | { readonly kind: 'array'; readonly element: number; readonly index: number; readonly length: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | {
      readonly kind: 'enum' | 'enum64';
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly values: readonly BtfEnumerator[];
    }
  | { readonly kind: 'fwd'; readonly name: string; readonly of: 'struct' | 'union' }
  | { readonly kind: 'ptr' | BtfModifier; readonly name: string; readonly type: number }
  | { readonly kind: 'func'; readonly name: string; readonly type: number; readonly linkage: number }
  | {
      readonly kind: 'func_proto';
      readonly returns: number;
      readonly parameters: readonly { readonly name: string; readonly type: number }[];
    }
  | { readonly kind: 'var'; readonly name: string; readonly type: number; readonly linkage: number }
  | {
      readonly kind: 'datasec';
      readonly name: string;
      readonly size: number;
      readonly variables: readonly {
        readonly type: number;
        readonly offset: number;
        readonly size: number;
      }[];
    }
  | { readonly kind: 'float'; readonly name: string; readonly size: number }
  | { readonly kind: 'decl_tag'; readonly name: string; readonly type: number; readonly component: number };

/** Kinds that stand for another type without changing its layout. */
export type BtfModifier = 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag';

/** The kinds of types, named as in the kernel's documentation. */
export type BtfKind = BtfType['kind'];

/** What the decoder reads from: the type section as 32-bit words, and the string section. */
export interface BtfSource {
  readonly words: Uint32Array;
  /** The string that starts `offset` bytes into the string section. */
  string(offset: number): string;
}

/**
 * One row a kind: after the 12 bytes that all have, `fixed` 32-bit words, then `each` words for each of its
 * vlen parts.
 */
interface KindRow {
  readonly kind: BtfKind;
  readonly fixed: number;
  readonly each: number;
  /** `at` is the word where the type begins. */
  readonly decode: (source: BtfSource, at: number) => BtfType;
}

/** Indexed by the kind's number (`BTF_KIND_*`). */
const ROWS: readonly KindRow[] = [
  { kind: 'void', fixed: 0, each: 0, decode: () => ({ kind: 'void' }) },
  { kind: 'int', fixed: 1, each: 0, decode: int },
  { kind: 'ptr', fixed: 0, each: 0, decode: to('ptr') },
  { kind: 'array', fixed: 3, each: 0, decode: array },
  { kind: 'struct', fixed: 0, each: 3, decode: composite('struct') },
  { kind: 'union', fixed: 0, each: 3, decode: composite('union') },
  { kind: 'enum', fixed: 0, each: 2, decode: enumeration },
  { kind: 'fwd', fixed: 0, each: 0, decode: forward },
  { kind: 'typedef', fixed: 0, each: 0, decode: to('typedef') },
  { kind: 'volatile', fixed: 0, each: 0, decode: to('volatile') },
  { kind: 'const', fixed: 0, each: 0, decode: to('const') },
  { kind: 'restrict', fixed: 0, each: 0, decode: to('restrict') },
  { kind: 'func', fixed: 0, each: 0, decode: func },
  { kind: 'func_proto', fixed: 0, each: 2, decode: prototype },
  { kind: 'var', fixed: 1, each: 0, decode: variable },
  { kind: 'datasec', fixed: 0, each: 3, decode: section },
  { kind: 'float', fixed: 0, each: 0, decode: float },
  { kind: 'decl_tag', fixed: 1, each: 0, decode: tag },
  { kind: 'type_tag', fixed: 0, each: 0, decode: to('type_tag') },
  { kind: 'enum64', fixed: 0, each: 3, decode: enumeration64 },
];

/** The largest kind there are rows for. */
export const LAST_KIND = ROWS.length - 1;
/** Words behind the common three, by kind. */
export const FIXED_WORDS = Uint8Array.from(ROWS, (row) => row.fixed);
/** Words for each of the vlen parts, by kind. */
export const PART_WORDS = Uint8Array.from(ROWS, (row) => row.each);

/** Words that every type begins with: name, info, size or type. */
export const HEAD_WORDS = 3;

/** The kind of a type by its info word: 5 bits up to Linux 7.1, 7 since; the two more were zero before. */
export function kindOf(info: number): number {
  return (info >>> 24) & 0x7f;
}

/**
 * The number of parts by the info word: 16 bits up to Linux 7.1, 24 since; the eight more were zero before.
 */
export function partsOf(info: number): number {
  return info & 0xff_ffff;
}

/** `kind_flag`: what it means depends on the kind. */
function flagOf(info: number): boolean {
  return info >>> 31 === 1;
}

/** The number of a kind. */
export function kindNumber(kind: BtfKind): number {
  return ROWS.findIndex((row) => row.kind === kind);
}

/** Decodes the type that begins at word `at`. Its kind and extent were checked by the scan. */
export function decodeType(source: BtfSource, at: number): BtfType {
  const row = ROWS[kindOf(word(source, at + 1))];
  if (row === undefined) throw new BtfError(`no BTF kind at word ${at} of the type section`);
  return row.decode(source, at);
}

function word(source: BtfSource, at: number): number {
  const value = source.words[at];
  if (value === undefined) throw new BtfError(`the BTF type section ends before word ${at}`);
  return value;
}

const nameOf = (source: BtfSource, at: number) => source.string(word(source, at));
const infoOf = (source: BtfSource, at: number) => word(source, at + 1);
const sizeOrType = (source: BtfSource, at: number) => word(source, at + 2);

/** The parts of the type at `at`, each by `make` from the word where the part begins. */
function parts<T>(source: BtfSource, at: number, make: (at: number) => T): T[] {
  const info = infoOf(source, at);
  const step = PART_WORDS[kindOf(info)] ?? 0;
  return Array.from({ length: partsOf(info) }, (_, i) => make(at + HEAD_WORDS + i * step));
}

function int(source: BtfSource, at: number): BtfType {
  const encoding = word(source, at + 3);
  return {
    kind: 'int',
    name: nameOf(source, at),
    size: sizeOrType(source, at),
    signed: (encoding & 0x0100_0000) !== 0,
    bool: (encoding & 0x0400_0000) !== 0,
    bits: encoding & 0xff,
    bitOffset: (encoding >>> 16) & 0xff,
  };
}

function to(kind: 'ptr' | BtfModifier): KindRow['decode'] {
  return (source, at) => ({ kind, name: nameOf(source, at), type: sizeOrType(source, at) });
}

function array(source: BtfSource, at: number): BtfType {
  return {
    kind: 'array',
    element: word(source, at + 3),
    index: word(source, at + 4),
    length: word(source, at + 5),
  };
}

function composite(kind: 'struct' | 'union'): KindRow['decode'] {
  return (source, at) => {
    const flag = flagOf(infoOf(source, at));
    return {
      kind,
      name: nameOf(source, at),
      size: sizeOrType(source, at),
      members: parts(source, at, (part) => member(source, part, flag)),
    };
  };
}

/** With the flag the upper 8 bits of the offset are the size of a bit field, 0 for other members. */
function member(source: BtfSource, at: number, flag: boolean): BtfMember {
  const offset = word(source, at + 2);
  const head = { name: nameOf(source, at), type: word(source, at + 1) };
  const bitSize = flag ? offset >>> 24 : 0;
  const bitOffset = flag ? offset & 0xff_ffff : offset;
  return bitSize === 0 ? { ...head, bitOffset } : { ...head, bitOffset, bitSize };
}

function enumeration(source: BtfSource, at: number): BtfType {
  const signed = flagOf(infoOf(source, at));
  return {
    kind: 'enum',
    name: nameOf(source, at),
    size: sizeOrType(source, at),
    signed,
    values: parts(source, at, (part) => ({
      name: nameOf(source, part),
      value: signed ? word(source, part + 1) | 0 : word(source, part + 1),
    })),
  };
}

function enumeration64(source: BtfSource, at: number): BtfType {
  const signed = flagOf(infoOf(source, at));
  return {
    kind: 'enum64',
    name: nameOf(source, at),
    size: sizeOrType(source, at),
    signed,
    values: parts(source, at, (part) => {
      const value = BigInt(word(source, part + 1)) | (BigInt(word(source, part + 2)) << 32n);
      return { name: nameOf(source, part), value: signed ? BigInt.asIntN(64, value) : value };
    }),
  };
}

function forward(source: BtfSource, at: number): BtfType {
  return { kind: 'fwd', name: nameOf(source, at), of: flagOf(infoOf(source, at)) ? 'union' : 'struct' };
}

/** A function's linkage (static, global, extern) stands where others have the number of parts. */
function func(source: BtfSource, at: number): BtfType {
  const linkage = partsOf(infoOf(source, at));
  return { kind: 'func', name: nameOf(source, at), type: sizeOrType(source, at), linkage };
}

function prototype(source: BtfSource, at: number): BtfType {
  return {
    kind: 'func_proto',
    returns: sizeOrType(source, at),
    parameters: parts(source, at, (part) => ({ name: nameOf(source, part), type: word(source, part + 1) })),
  };
}

function variable(source: BtfSource, at: number): BtfType {
  return {
    kind: 'var',
    name: nameOf(source, at),
    type: sizeOrType(source, at),
    linkage: word(source, at + 3),
  };
}

function section(source: BtfSource, at: number): BtfType {
  return {
    kind: 'datasec',
    name: nameOf(source, at),
    size: sizeOrType(source, at),
    variables: parts(source, at, (part) => ({
      type: word(source, part),
      offset: word(source, part + 1),
      size: word(source, part + 2),
    })),
  };
}

function float(source: BtfSource, at: number): BtfType {
  return { kind: 'float', name: nameOf(source, at), size: sizeOrType(source, at) };
}

/** `component` is the member or parameter that is tagged, -1 for the whole. */
function tag(source: BtfSource, at: number): BtfType {
  return {
    kind: 'decl_tag',
    name: nameOf(source, at),
    type: sizeOrType(source, at),
    component: word(source, at + 3) | 0,
  };
}
