/** The underlying type of a BTF type, and its size. */
import type { BtfReader } from './reader.ts';
import { BtfError, type BtfType } from './types.ts';

/** The maximum depth of nested types: no kernel's types reach it, only BTF that refers to itself. */
export const MAX_DEPTH = 64;

/** A type without typedefs and qualifiers, its id, and the name of its last typedef. */
export interface Underlying {
  readonly id: number;
  readonly type: BtfType;
  readonly alias?: string;
}

/** Skips typedef, const, volatile, restrict and type_tag. Throws BtfError for a cycle of them. */
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

/** Returns the size of a type in bytes, as `sizeof` on a 64-bit machine. Throws BtfError if it has none. */
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
