/**
 * What a type is to whoever reads a value of it: a member of a struct, a parameter of a function.
 */
import type { BtfReader } from './reader.ts';
import { MAX_DEPTH, type Underlying, underlying } from './size.ts';
import type { BtfType } from './types.ts';

/** What a value is once typedefs and qualifiers are off. */
export type ValueKind = 'int' | 'enum' | 'float' | 'pointer' | 'array' | 'struct' | 'union';

/** A struct or union that a pointer points to. */
export interface PointedStruct {
  /** Its name, or that of the typedef of an anonymous struct. */
  readonly name: string;
  /** Its BTF id: that of the struct itself, or of a forward declaration. */
  readonly type: number;
}

/** A type, typedefs and qualifiers off. */
export interface ValueType {
  readonly kind: ValueKind;
  readonly signed: boolean;
  /** Whether it is a `__be16`, `__be32` or `__be64`: a number in network byte order. */
  readonly bigEndian?: boolean;
  /** The struct or union that a pointer points to. */
  readonly pointsTo?: PointedStruct;
  /** Its id, without typedefs and qualifiers. */
  readonly type: number;
}

const KINDS: { readonly [Kind in BtfType['kind']]?: ValueKind } = {
  int: 'int',
  enum: 'enum',
  enum64: 'enum',
  float: 'float',
  ptr: 'pointer',
  array: 'array',
  struct: 'struct',
  union: 'union',
};

/** What the type of that id is, or undefined where no value is of it (void, a function). */
export function valueType(reader: BtfReader, start: number): ValueType | undefined {
  const { id, type } = underlying(reader, start);
  const kind = KINDS[type.kind];
  if (kind === undefined) return undefined;
  const signed = 'signed' in type && type.signed;
  const pointsTo = type.kind === 'ptr' ? pointee(reader, type.type) : undefined;
  return {
    ...{ kind, signed, type: id },
    ...(isBigEndian(reader, start) && { bigEndian: true }),
    ...(pointsTo !== undefined && { pointsTo }),
  };
}

/** The kernel's names of numbers in network byte order (include/uapi/linux/types.h). */
export const BIG_ENDIAN: ReadonlySet<string> = new Set(['__be16', '__be32', '__be64']);

/** Whether one of the typedefs of a type says that it is in network byte order, which is not a part of BTF itself. */
function isBigEndian(reader: BtfReader, start: number): boolean {
  let type = reader.type(start);
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    switch (type.kind) {
      case 'typedef':
        if (BIG_ENDIAN.has(type.name)) return true;
        break;
      case 'const':
      case 'volatile':
      case 'restrict':
      case 'type_tag':
        break;
      default:
        return false;
    }
    type = reader.type(type.type);
  }
  return false;
}

function pointee(reader: BtfReader, start: number): PointedStruct | undefined {
  const { id, type, alias }: Underlying = underlying(reader, start);
  if (type.kind !== 'struct' && type.kind !== 'union' && type.kind !== 'fwd') return undefined;
  return { name: type.name || alias || `(anonymous ${type.kind})`, type: id };
}

/** The kind of a type in a message. */
export function withArticle(type: BtfType): string {
  const what = type.kind === 'ptr' ? 'pointer' : type.kind;
  return /^[aeiu]/.test(what) && what !== 'union' ? `an ${what}` : `a ${what}`;
}
