/**
 * The BTF format: the size of each kind of type in words, and its decoder.
 *
 * Source: include/uapi/linux/btf.h, Documentation/bpf/btf.rst.
 */

import { BtfError, type BtfKind, type BtfMember, type BtfModifier, type BtfType } from './types.ts';

/** The input of the decoder: the type section as 32-bit words, and the string section. */
export interface BtfSource {
  readonly words: Uint32Array;
  readonly kindSizes: KindSizes;
  /** The string that starts `offset` bytes into the string section. */
  string(offset: number): string;
}

/**
 * One row for each kind: after the three words that every type has, `fixed` words, then `each` words for each
 * of its `vlen` parts.
 */
interface KindRow {
  readonly kind: BtfKind;
  readonly fixed: number;
  readonly each: number;
  /** `at` is the first word of the type. */
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
  { kind: 'loc_param', fixed: 1, each: 1, decode: locationOfParameter },
  { kind: 'loc_proto', fixed: 0, each: 1, decode: locationPrototype },
  { kind: 'locsec', fixed: 0, each: 3, decode: locations },
];

/** The last kind whose size is fixed: a BTF blob may only declare the sizes of later kinds. */
const LAST_FROZEN = ROWS.findIndex(({ kind }) => kind === 'enum64');
/** Kinds are 7 bits. */
const KINDS = 0x80;
/** The `fixed` size of an unknown kind, which is past the end of any blob: at most 2^30 words fit in one. */
export const UNKNOWN_KIND = 2 ** 30;

/** The sizes of types in words, by the number of their kind. */
export interface KindSizes {
  /** Words after the common three; `UNKNOWN_KIND` if the kind is unknown. */
  readonly fixed: Uint32Array;
  /** Words for each of the `vlen` parts. */
  readonly each: Uint8Array;
}

/** The sizes of the kinds in `ROWS`. */
const KNOWN: KindSizes = readKindSizes();

/**
 * Returns the sizes for a blob. Its header may have a section of sizes (`struct btf_layout`, 4 bytes for each
 * kind: bytes after the common three words, bytes for each part, flags), by which readers skip kinds newer
 * than they are.
 */
export function readKindSizes(layout: Uint8Array = new Uint8Array()): KindSizes {
  const kindSizes = { fixed: new Uint32Array(KINDS).fill(UNKNOWN_KIND), each: new Uint8Array(KINDS) };
  for (const [kind, { fixed, each }] of ROWS.entries()) {
    if (kind === 0) continue;
    kindSizes.fixed[kind] = fixed;
    kindSizes.each[kind] = each;
  }
  const declared = Math.min(Math.floor(layout.length / 4), KINDS);
  for (let kind = LAST_FROZEN + 1; kind < declared; kind++) {
    const [fixed = 0, each = 0] = layout.subarray(4 * kind);
    if (fixed % 4 !== 0 || each % 4 !== 0)
      throw new BtfError(
        `the BTF layout of kind ${kind} (${fixed} and ${each} bytes) is not a multiple of 4 bytes`,
      );
    kindSizes.fixed[kind] = fixed / 4;
    kindSizes.each[kind] = each / 4;
  }
  return kindSizes;
}

/** The words at the start of every type: name, info, size or type. */
export const HEAD_WORDS = 3;

/** The kind in a type's info word: 5 bits up to Linux 7.1, 7 since; the two added bits were zero before. */
export function kindOf(info: number): number {
  return (info >>> 24) & 0x7f;
}

/**
 * The number of parts in a type's info word: 16 bits up to Linux 7.1, 24 since; the eight added bits were
 * zero before.
 */
export function partsOf(info: number): number {
  return info & 0xff_ffff;
}

/** `kind_flag`, whose meaning depends on the kind. */
function flagOf(info: number): boolean {
  return info >>> 31 === 1;
}

/** Returns the number of a kind. */
export function kindNumber(kind: BtfKind): number {
  return ROWS.findIndex((row) => row.kind === kind);
}

/** Decodes the type at word `at`. The scan has checked its kind and size. */
export function decodeType(source: BtfSource, at: number): BtfType {
  const kind = kindOf(infoOf(source, at));
  const row = ROWS[kind];
  const known = (which: keyof KindSizes) => KNOWN[which][kind] === source.kindSizes[which][kind];
  if (row === undefined || !known('fixed') || !known('each'))
    return { kind: 'unknown', name: nameOf(source, at), number: kind };
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

/** The parts of the type at `at`; `make` gets the first word of each part. */
function parts<T>(source: BtfSource, at: number, make: (at: number) => T): T[] {
  const info = infoOf(source, at);
  const kind = kindOf(info);
  const first = at + HEAD_WORDS + (source.kindSizes.fixed[kind] ?? 0);
  const step = source.kindSizes.each[kind] ?? 0;
  const count = partsOf(info);
  const made: T[] = [];
  for (let nth = 0; nth < count; nth++) made.push(make(first + nth * step));
  return made;
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

/** With `kind_flag`, the upper 8 bits of the offset are the size of a bit field, 0 for other members. */
function member(source: BtfSource, at: number, flag: boolean): BtfMember {
  const name = nameOf(source, at);
  const type = word(source, at + 1);
  const offset = word(source, at + 2);
  const bitSize = flag ? offset >>> 24 : 0;
  const bitOffset = flag ? offset & 0xff_ffff : offset;
  return bitSize === 0 ? { name, type, bitOffset } : { name, type, bitOffset, bitSize };
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

/** The linkage of a function (static, global, extern) is where other kinds have the number of parts. */
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

/** `component` is the tagged member or parameter, -1 for the whole type. */
function tag(source: BtfSource, at: number): BtfType {
  return {
    kind: 'decl_tag',
    name: nameOf(source, at),
    type: sizeOrType(source, at),
    component: word(source, at + 3) | 0,
  };
}

/** The location of a parameter of an inlined function: a register, an address, a constant. */
function locationOfParameter(source: BtfSource, at: number): BtfType {
  return {
    kind: 'loc_param',
    size: sizeOrType(source, at),
    flags: word(source, at + 3),
    values: parts(source, at, (part) => word(source, part)),
  };
}

function locationPrototype(source: BtfSource, at: number): BtfType {
  return { kind: 'loc_proto', parameters: parts(source, at, (part) => word(source, part)) };
}

/** The sites of a code section where functions are inlined. */
function locations(source: BtfSource, at: number): BtfType {
  return {
    kind: 'locsec',
    name: nameOf(source, at),
    sites: parts(source, at, (part) => ({
      func: word(source, part),
      prototype: word(source, part + 1),
      offset: word(source, part + 2),
    })),
  };
}
