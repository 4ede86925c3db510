/** Members of kernel structs by path: `__sk_common.skc_daddr`, `in6_u.u6_addr32[1]`. */

import { nearest } from '../nearest.ts';
import { NoSuchFieldError } from './no-such-field.ts';
import type { BtfReader } from './reader.ts';
import { MAX_DEPTH, sizeOf, underlying } from './size.ts';
import { findStruct, type StructRef, structId, structName } from './struct.ts';
import { BtfError, type BtfType } from './types.ts';
import { type ValueKind, type ValueType, valueType, withArticle } from './value.ts';

/** The kind of a member without typedefs and qualifiers. */
export type MemberKind = ValueKind;

/** A member of a kernel struct: its offset, size and type. See `Btf.member`. */
export interface Member extends ValueType {
  /** The offset from the start of the struct, in bytes. */
  readonly offset: number;
  /** The size in bytes; for a bit field, the number of bytes to load. */
  readonly size: number;
  /**
   * Only for a bit field that is not 8, 16, 32 or 64 bits on a byte boundary: the position of its least
   * significant bit in the integer that a little-endian load of `size` bytes from `offset` (aligned to
   * `size`) gives.
   */
  readonly bitOffset?: number;
  /** The number of bits of such a bit field. */
  readonly bitSize?: number;
}

type Composite = Extract<BtfType, { kind: 'struct' | 'union' }>;

/** The type reached by the first steps of a path. */
interface Reached {
  readonly type: number;
  readonly bitOffset: number;
  readonly bitSize?: number;
}

/** Why a path fails, and the names that exist there. */
interface Miss {
  readonly reason: string;
  readonly wanted: string;
  readonly candidates: () => Iterable<string>;
}

/** Finds the first of the paths that exists. Throws NoSuchFieldError if none does. */
export function findMember(reader: BtfReader, ref: StructRef, paths: readonly string[]): Member {
  const id = structId(reader, ref);
  const struct = structName(reader, ref);
  if (paths.length === 0) throw new TypeError(`struct ${struct}: the list of paths is empty`);
  const misses: Miss[] = [];
  for (const path of paths) {
    const found = follow(reader, id, path);
    if (!('reason' in found)) return describe(reader, found, `${struct}.${path}`);
    misses.push(found);
  }
  const similar = misses.flatMap((miss) => nearest(miss.wanted, miss.candidates()));
  const message = `struct ${struct}: ${misses.map((miss) => miss.reason).join('; ')}`;
  throw new NoSuchFieldError(message, struct, paths, [...new Set(similar)]);
}

/** Whether there is a struct and, with paths, at least one of these members. */
export function hasMember(
  reader: BtfReader,
  struct: StructRef,
  paths: readonly string[] | undefined,
): boolean {
  const id = findStruct(reader, struct);
  if (id === undefined) return false;
  return paths === undefined || paths.some((path) => !('reason' in follow(reader, id, path)));
}

/** The next step of a path: a name, after a dot unless it is the first step, or an index in brackets. */
const STEP = /(?:^|\.)([A-Za-z_]\w*)|(?<!^)\[(\d{1,9})\]/y;

/** Parses `a.b[2].c` to ['a', 'b', 2, 'c']. */
function parsePath(path: string): (string | number)[] {
  const steps: (string | number)[] = [];
  for (let at = 0; at < path.length || steps.length === 0; at = STEP.lastIndex) {
    STEP.lastIndex = at;
    const [, name, index] = STEP.exec(path) ?? [];
    const step = name ?? (index === undefined ? undefined : Number(index));
    if (step === undefined)
      throw new TypeError(
        `'${path}' is not a path to a member; write names joined by dots, and [numbers] for arrays`,
      );
    steps.push(step);
  }
  return steps;
}

function follow(reader: BtfReader, struct: number, path: string): Reached | Miss {
  let reached: Reached = { type: struct, bitOffset: 0 };
  let done = '';
  for (const step of parsePath(path)) {
    const next: Reached | Miss =
      typeof step === 'number' ? element(reader, reached, step, done) : inside(reader, reached, step, done);
    if ('reason' in next) return next;
    reached = next;
    done = typeof step === 'number' ? `${done}[${step}]` : done === '' ? step : `${done}.${step}`;
  }
  return reached;
}

const NOTHING = () => [];

function inside(reader: BtfReader, reached: Reached, name: string, done: string): Reached | Miss {
  const { id, type } = underlying(reader, reached.type);
  if (type.kind === 'struct' || type.kind === 'union') {
    const found = search(reader, id, type, name, new Set());
    if (found !== undefined) return { ...found, bitOffset: reached.bitOffset + found.bitOffset };
    const prefix = done === '' ? '' : `${done}.`;
    const reason = `no member '${prefix}${name}'`;
    return { reason, wanted: name, candidates: () => memberNames(reader, id, type, prefix) };
  }
  const hint =
    type.kind === 'ptr' ? ': read the pointer, then take the member of the struct that it points to' : '';
  return {
    reason: `'${done}' is ${withArticle(type)} and has no member '${name}'${hint}`,
    wanted: name,
    candidates: NOTHING,
  };
}

function element(reader: BtfReader, reached: Reached, index: number, done: string): Reached | Miss {
  const { type } = underlying(reader, reached.type);
  if (type.kind !== 'array')
    return { reason: `'${done}' is ${withArticle(type)}, not an array`, wanted: done, candidates: NOTHING };
  // A flexible array at the end of its struct has length 0.
  if (type.length > 0 && index >= type.length)
    return {
      reason: `'${done}[${index}]': the array has ${type.length} elements`,
      wanted: done,
      candidates: NOTHING,
    };
  return { type: type.element, bitOffset: reached.bitOffset + index * sizeOf(reader, type.element) * 8 };
}

/** Searches anonymous structs and unions as C does, each of them once. */
function search(
  reader: BtfReader,
  id: number,
  composite: Composite,
  name: string,
  searched: Set<number>,
  depth = 0,
): Reached | undefined {
  if (depth > MAX_DEPTH)
    throw new BtfError(`BTF type ${id}: anonymous structs nested deeper than ${MAX_DEPTH}`);
  searched.add(id);
  const member = composite.members.find((candidate) => candidate.name === name);
  if (member !== undefined) return member;
  for (const anonymous of composite.members) {
    if (anonymous.name !== '') continue;
    const { id: innerId, type } = underlying(reader, anonymous.type);
    if ((type.kind !== 'struct' && type.kind !== 'union') || searched.has(innerId)) continue;
    const found = search(reader, innerId, type, name, searched, depth + 1);
    if (found !== undefined) return { ...found, bitOffset: anonymous.bitOffset + found.bitOffset };
  }
  return undefined;
}

/** For messages: the paths of all members including nested structs, nearer ones first; each struct once. */
function* memberNames(
  reader: BtfReader,
  id: number,
  composite: Composite,
  prefix: string,
): Generator<string> {
  const seen = new Set([id]);
  const queue = [{ composite, prefix }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const member of next.composite.members) {
      const path = next.prefix + member.name;
      if (member.name !== '') yield path;
      const { id: innerId, type } = underlying(reader, member.type);
      if ((type.kind !== 'struct' && type.kind !== 'union') || seen.has(innerId)) continue;
      seen.add(innerId);
      queue.push({ composite: type, prefix: member.name === '' ? next.prefix : `${path}.` });
    }
  }
}

function describe(reader: BtfReader, reached: Reached, path: string): Member {
  const value = valueType(reader, reached.type);
  const { type } = underlying(reader, reached.type);
  if (value === undefined) throw new BtfError(`${path}: a member cannot be ${withArticle(type)}`);
  const bits = bitField(reached, type);
  if (bits !== undefined) return { ...value, ...bitLoad(bits.start, bits.count, path) };
  return { ...value, offset: reached.bitOffset / 8, size: sizeOf(reader, value.type) };
}

/**
 * Whether a member is a bit field: marked in the member or, in BTF without that flag, by an integer type with
 * fewer bits than its bytes have.
 */
function bitField(reached: Reached, type: BtfType): { start: number; count: number } | undefined {
  if (reached.bitSize !== undefined) return { start: reached.bitOffset, count: reached.bitSize };
  if (type.kind === 'int' && (type.bits !== type.size * 8 || reached.bitOffset % 8 !== 0))
    return { start: reached.bitOffset + type.bitOffset, count: type.bits };
  return undefined;
}

/**
 * The load that covers a bit field: whole bytes if possible, otherwise the smallest aligned load around it.
 */
function bitLoad(start: number, count: number, path: string) {
  if (start % 8 === 0 && [8, 16, 32, 64].includes(count)) return { offset: start / 8, size: count / 8 };
  for (const size of [1, 2, 4, 8]) {
    const offset = Math.floor(start / (size * 8)) * size;
    const bitOffset = start - offset * 8;
    if (bitOffset + count <= size * 8) return { offset, size, bitOffset, bitSize: count };
  }
  throw new BtfError(
    `${path}: ${count} bits from bit ${start} do not fit in an aligned load of at most 8 bytes`,
  );
}
