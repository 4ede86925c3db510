/**
 * What a BTF type is under its typedefs and qualifiers, and how many bytes it takes.
 */
import type { BtfReader } from './reader.ts';
import { BtfError, type BtfType } from './types.ts';

/** Deeper than any kernel's types nest; only BTF that refers to itself gets there. */
export const MAX_DEPTH = 64;

/** A type without typedefs and qualifiers, its id, and the name of the last typedef on the way to it. */
export interface Underlying {
  readonly id: number;
  readonly type: BtfType;
  readonly alias?: string;
}

/**
 * Follows typedef, const, volatile, restrict and type_tag. Throws BtfError where they lead back to
 * themselves.
 */
export function underlying(reader: BtfReader, start: number): Underlying {
  let id = start;
  let alias: string | undefined;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const type = reader.type(id);
    switch (type.kind) {
      case 'typedef':
        alias = type.name;
        id = type.type;
        break;
      case 'const':
      case 'volatile':
      case 'restrict':
      case 'type_tag':
        id = type.type;
        break;
      default:
        return alias === undefined ? { id, type } : { id, type, alias };
    }
  }
  throw new BtfError(`BTF type ${start} is a typedef or qualifier of itself`);
}

/** The size of a type in bytes, as `sizeof` has it on 64-bit. Throws BtfError where it has none. */
export function sizeOf(reader: BtfReader, start: number, depth = 0): number {
  const { type } = underlying(reader, start);
  switch (type.kind) {
    case 'ptr':
      return 8;
    case 'array': {
      if (depth > MAX_DEPTH) throw new BtfError(`BTF type ${start} is an array of itself`);
      const size = type.length * sizeOf(reader, type.element, depth + 1);
      if (!Number.isSafeInteger(size)) throw new BtfError(`BTF type ${start}: an array of ${size} bytes`);
      return size;
    }
    case 'int':
    case 'enum':
    case 'enum64':
    case 'float':
    case 'struct':
    case 'union':
      return type.size;
    default:
      throw new BtfError(`BTF type ${start} is of kind ${type.kind}, which has no size`);
  }
}
