/**
 * Structs by name. A name may have several definitions, because each C file can define its own struct
 * (`struct dma_chan`): then the name alone is ambiguous.
 */
import { nearest } from '../nearest.ts';
import { AmbiguousStructError, listCandidates, type StructCandidate } from './ambiguous-struct.ts';
import { NoSuchFieldError } from './no-such-field.ts';
import type { BtfReader } from './reader.ts';
import { MAX_DEPTH, sizeOf, underlying } from './size.ts';
import type { BtfMember, BtfType } from './types.ts';

/**
 * Selects one of several definitions of a name. Sizes and members are stable between kernels, ids are not.
 */
export interface StructChoice {
  /** The size of the struct in bytes. */
  readonly size?: number;
  /** The name of a member of the struct. */
  readonly having?: string;
}

/**
 * A reference to a struct, a union or a typedef of one: its name; its name and a choice between several
 * definitions; or its BTF id, which differs between kernels.
 */
export type StructRef = string | number | ({ readonly name: string } & StructChoice);

type Composite = Extract<BtfType, { kind: 'struct' | 'union' }>;

/** The name of a struct in messages. */
export function structName(reader: BtfReader, ref: StructRef): string {
  if (typeof ref === 'string') return ref;
  return typeof ref === 'number' ? reader.nameOf(ref) || `(anonymous, BTF id ${ref})` : ref.name;
}

/**
 * Finds the id of a struct, a union or a typedef of one. Resolves a forward declaration by its name.
 *
 * @throws {NoSuchFieldError} if there is none.
 * @throws {AmbiguousStructError} if there are several different ones.
 */
export function structId(reader: BtfReader, ref: StructRef): number {
  const id = findStruct(reader, ref);
  if (id !== undefined) return id;
  const name = structName(reader, ref);
  const there = typeof ref === 'object' ? definitions(reader, name) : [];
  if (typeof ref === 'object' && there.length > 0)
    throw new NoSuchFieldError(
      `this kernel has no struct '${name}' ${describeChoice(ref)}: ${listCandidates(there.map((each) => candidate(reader, each)))}`,
      name,
      [],
      [],
    );
  throw new NoSuchFieldError(
    `this kernel has no struct '${name}'`,
    name,
    [],
    nearest(name, structNames(reader)),
  );
}

/**
 * Finds the id as `structId` does; undefined if there is none.
 *
 * @throws {AmbiguousStructError} if there are several different ones.
 */
export function findStruct(reader: BtfReader, ref: StructRef): number | undefined {
  if (typeof ref === 'number') {
    const { id, type } = underlying(reader, ref);
    if (type.kind === 'fwd') return findStruct(reader, type.name);
    return type.kind === 'struct' || type.kind === 'union' ? id : undefined;
  }
  const { name, size, having } = typeof ref === 'string' ? { name: ref } : ref;
  const chosen = definitions(reader, name).filter(
    (id) =>
      (size === undefined || sizeOf(reader, id) === size) &&
      (having === undefined || memberNames(reader, id).includes(having)),
  );
  const [first, ...others] = chosen;
  if (first === undefined) return undefined;
  const different = [
    first,
    ...others.filter((id, index) => !chosen.slice(0, index + 1).some((seen) => sameLayout(reader, seen, id))),
  ];
  if (different.length === 1) return first;
  throw new AmbiguousStructError(
    name,
    different.map((id) => candidate(reader, id)),
  );
}

/** The ids of all definitions of a name; typedefs only if no struct or union has it. */
function definitions(reader: BtfReader, name: string): readonly number[] {
  const ids = reader.findAll(['struct', 'union'], name);
  if (ids.length > 0) return ids;
  const aliased = reader
    .findAll(['typedef'], name)
    .map((alias) => underlying(reader, alias))
    .filter(({ type }) => type.kind === 'struct' || type.kind === 'union')
    .map(({ id }) => id);
  return [...new Set(aliased)];
}

function structNames(reader: BtfReader): string[] {
  return reader.ids('struct', 'union').map((id) => reader.nameOf(id));
}

function candidate(reader: BtfReader, id: number): StructCandidate {
  const { kind, size } = reader.type(id) as Composite;
  return { id, kind, size, members: memberNames(reader, id) };
}

/** The names of the members, including those of nested anonymous structs and unions, each of these once. */
function memberNames(reader: BtfReader, id: number): string[] {
  const seen = new Set<number>();
  const names: string[] = [];
  for (const queue = [id]; queue.length > 0; ) {
    const next = underlying(reader, queue.shift() as number);
    if ((next.type.kind !== 'struct' && next.type.kind !== 'union') || seen.has(next.id)) continue;
    seen.add(next.id);
    for (const { name, type } of next.type.members)
      if (name === '') queue.push(type);
      else names.push(name);
  }
  return names;
}

/** Whether two types have the same layout for reading. */
function sameLayout(reader: BtfReader, a: number, b: number, depth = 0): boolean {
  const [left, right] = [underlying(reader, a), underlying(reader, b)];
  if (left.id === right.id || depth > MAX_DEPTH) return left.id === right.id;
  const [x, y] = [left.type, right.type];
  if (x.kind === 'ptr' && y.kind === 'ptr') return pointeeKey(reader, x.type) === pointeeKey(reader, y.type);
  if (x.kind === 'array' && y.kind === 'array')
    return x.length === y.length && sameLayout(reader, x.element, y.element, depth + 1);
  if (isComposite(x) && isComposite(y))
    return (
      x.kind === y.kind &&
      x.size === y.size &&
      x.members.length === y.members.length &&
      x.members.every((member, index) => sameMember(reader, member, y.members[index] as BtfMember, depth))
    );
  const sized = (type: BtfType) => ('size' in type ? type.size : 0);
  const signed = (type: BtfType) => 'signed' in type && type.signed;
  return x.kind === y.kind && sized(x) === sized(y) && signed(x) === signed(y);
}

function sameMember(reader: BtfReader, x: BtfMember, y: BtfMember, depth: number): boolean {
  const samePlace = x.name === y.name && x.bitOffset === y.bitOffset && x.bitSize === y.bitSize;
  return samePlace && sameLayout(reader, x.type, y.type, depth + 1);
}

function isComposite(type: BtfType): type is Composite {
  return type.kind === 'struct' || type.kind === 'union';
}

/**
 * The pointee of a pointer, for comparisons: the name of a struct (a forward declaration is the same struct),
 * otherwise its kind.
 */
function pointeeKey(reader: BtfReader, id: number): string {
  const { type } = underlying(reader, id);
  const isNamed = isComposite(type) || type.kind === 'fwd';
  return isNamed ? `struct ${type.name}` : type.kind;
}

function describeChoice({ size, having }: StructChoice): string {
  const parts = [
    ...(size === undefined ? [] : [`of ${size} bytes`]),
    ...(having === undefined ? [] : [`with a member '${having}'`]),
  ];
  return parts.join(' ');
}
