/** The type of a value to read: a member of a struct, a parameter of a function. */
import type { BtfReader } from './reader.ts';
import { MAX_DEPTH, type Underlying, underlying } from './size.ts';
import type { BtfType } from './types.ts';

/** The kind of a value without typedefs and qualifiers. */
export type ValueKind = 'int' | 'enum' | 'float' | 'pointer' | 'array' | 'struct' | 'union';

/** The struct or union that a pointer points to. */
export interface PointedStruct {
  /** Its name, or the name of the typedef of an anonymous struct. */
  readonly name: string;
  /** Its BTF id, that of the struct or of a forward declaration. */
  readonly type: number;
}

/** The type of a value, without typedefs and qualifiers. */
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

/** Returns the type of values with a BTF id, or undefined if there are none (void, a function). */
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

/** The kernel's typedefs of numbers in network byte order (include/uapi/linux/types.h). */
export const BIG_ENDIAN: ReadonlySet<string> = new Set(['__be16', '__be32', '__be64']);

/** Whether a typedef of a type marks network byte order, which BTF itself does not have. */
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

/** The kind of a type with its article, for messages. */
export function withArticle(type: BtfType): string {
  const what = type.kind === 'ptr' ? 'pointer' : type.kind;
  return /^[aeiu]/.test(what) && what !== 'union' ? `an ${what}` : `a ${what}`;
}
