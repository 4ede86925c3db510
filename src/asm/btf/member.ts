/**
 * Members of kernel structures by path: `__sk_common.skc_daddr`, `in6_u.u6_addr32[1]`.
 */

import { nearest } from '../nearest.ts';
import { NoSuchFieldError } from './no-such-field.ts';
import type { BtfReader } from './reader.ts';
import { MAX_DEPTH, sizeOf, underlying } from './size.ts';
import { findStruct, type StructRef, structId, structName } from './struct.ts';
import { BtfError, type BtfType } from './types.ts';
import { type ValueKind, type ValueType, valueType, withArticle } from './value.ts';

/** What a member is once typedefs and qualifiers are off. */
export type MemberKind = ValueKind;

/** Where a member lies in its struct, and what it is. */
export interface Member extends ValueType {
  /** Bytes from the start of the struct. */
  readonly offset: number;
  /** Bytes it takes; of a bit field, bytes to load. */
  readonly size: number;
  /**
   * Only for a bit field that isn't 8, 16, 32 or 64 bits on a byte boundary: its least significant bit in the
   * integer that a little-endian load of `size` bytes from `offset` (aligned to `size`) gives, and how many
   * bits it has.
   */
  readonly bitOffset?: number;
  readonly bitSize?: number;
}

type Composite = Extract<BtfType, { kind: 'struct' | 'union' }>;

/** A place on the way along a path. */
interface Reached {
  readonly type: number;
  readonly bitOffset: number;
  readonly bitSize?: number;
}

/** Why a path ends too early, and the names there are instead. */
interface Miss {
  readonly reason: string;
  readonly wanted: string;
  readonly candidates: () => Iterable<string>;
}

/** The first of the paths that exists. Throws NoSuchFieldError where none does. */
export function findMember(reader: BtfReader, ref: StructRef, paths: readonly string[]): Member {
  const id = structId(reader, ref);
  const struct = structName(reader, ref);
  if (paths.length === 0) throw new TypeError(`struct ${struct}: no path to a member was given`);
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

/** Whether there is such a struct, and (with paths) at least one of these in it. */
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

/** `a.b[2].c` as ['a', 'b', 2, 'c']. */
function parsePath(path: string): (string | number)[] {
  const steps: (string | number)[] = [];
  for (let at = 0; at < path.length || steps.length === 0; at = STEP.lastIndex) {
    STEP.lastIndex = at;
    const [, name, index] = STEP.exec(path) ?? [];
    const step = name ?? (index === undefined ? undefined : Number(index));
    if (step === undefined)
      throw new TypeError(
        `'${path}' is no path to a member: names, joined by dots, and [numbers] into arrays`,
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
  const hint = type.kind === 'ptr' ? ': read it, then take the field from what it points to' : '';
  return {
    reason: `'${done}' is ${withArticle(type)} and has no member '${name}'${hint}`,
    wanted: name,
    candidates: NOTHING,
  };
}

function element(reader: BtfReader, reached: Reached, index: number, done: string): Reached | Miss {
  const { type } = underlying(reader, reached.type);
  if (type.kind !== 'array')
    return { reason: `'${done}' is ${withArticle(type)}, no array`, wanted: done, candidates: NOTHING };
  // Zero is the length of a flexible array, at the end of its struct.
  if (type.length > 0 && index >= type.length)
    return {
      reason: `'${done}[${index}]': the array has ${type.length} elements`,
      wanted: done,
      candidates: NOTHING,
    };
  return { type: type.element, bitOffset: reached.bitOffset + index * sizeOf(reader, type.element) * 8 };
}

/** Looks through anonymous structs and unions as C does. What was searched once is not searched again. */
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

/**
 * For messages: the paths of all members, those of structs inside included, nearer ones first; each struct
 * once.
 */
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
  if (value === undefined) throw new BtfError(`${path}: a member can't be ${withArticle(type)}`);
  const bits = bitField(reached, type);
  if (bits !== undefined) return { ...value, ...bitLoad(bits.start, bits.count, path) };
  return { ...value, offset: reached.bitOffset / 8, size: sizeOf(reader, value.type) };
}

/**
 * Bit fields are marked in the member or, in BTF without that flag, in an integer type of fewer bits than
 * bytes.
 */
function bitField(reached: Reached, type: BtfType): { start: number; count: number } | undefined {
  if (reached.bitSize !== undefined) return { start: reached.bitOffset, count: reached.bitSize };
  if (type.kind === 'int' && (type.bits !== type.size * 8 || reached.bitOffset % 8 !== 0))
    return { start: reached.bitOffset + type.bitOffset, count: type.bits };
  return undefined;
}

/**
 * The load that has all of a bit field: whole bytes as they are, else the smallest aligned load around it.
 */
function bitLoad(start: number, count: number, path: string) {
  if (start % 8 === 0 && [8, 16, 32, 64].includes(count)) return { offset: start / 8, size: count / 8 };
  for (const size of [1, 2, 4, 8]) {
    const offset = Math.floor(start / (size * 8)) * size;
    const bitOffset = start - offset * 8;
    if (bitOffset + count <= size * 8) return { offset, size, bitOffset, bitSize: count };
  }
  throw new BtfError(`${path}: ${count} bits from bit ${start} are in no aligned load of 8 bytes or less`);
}
