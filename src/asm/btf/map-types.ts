/** The BTF of a map's key and value, from their schemas: `bpftool map dump` then prints fields by name. */
import { type IntLayout, type Layout, layoutOf } from '../layout.ts';
import { type MapSpec, MapType } from '../map.ts';
import { BtfBuilder, IntEncoding, identifier } from './builder.ts';

/** BTF, and the ids of a map's key and value in it. */
export interface MapBtf {
  /** The BTF. */
  readonly bytes: Uint8Array;
  readonly key: number;
  readonly value: number;
}

/** Maps for which the kernel accepts no types: their values are not data, or they have no keys. */
const NO_TYPES: readonly MapType[] = [
  ...[MapType.perfEventArray, MapType.ringBuffer],
  ...[MapType.arrayOfMaps, MapType.hashOfMaps],
  ...[MapType.stackTrace, MapType.queue, MapType.stack],
];

/** Returns the BTF of a map; undefined for a map that can have none. A bloom filter has no type of keys. */
export function mapBtf({ name, type, key, value }: MapSpec): MapBtf | undefined {
  if (NO_TYPES.includes(type)) return undefined;
  const types = new BtfBuilder();
  return {
    key: layoutOf(key).size === 0 ? 0 : add(types, layoutOf(key), `${name}_key`),
    value: add(types, layoutOf(value), `${name}_value`),
    bytes: types.bytes(),
  };
}

/** Adds a type. The outermost struct or union gets `name`; those inside it are anonymous. */
function add(types: BtfBuilder, layout: Layout, name = ''): number {
  switch (layout.kind) {
    case 'int':
      return addInt(types, layout);
    case 'chars':
      return types.array(types.int('char', 1, IntEncoding.char), layout.size, index(types));
    case 'bytes':
      return types.array(types.int('u8', 1, IntEncoding.unsigned), layout.size, index(types));
    case 'array':
      return types.array(add(types, layout.element), layout.length, index(types));
    case 'struct':
    case 'union': {
      const fields = layout.fields.map(({ name, offset, layout }) => ({
        name,
        offset,
        type: add(types, layout),
      }));
      return types.composite(layout.kind, name && identifier(name), layout.size, fields);
    }
  }
}

/**
 * Adds an integer with the kernel's name. BTF has no byte order; the typedef of a big-endian number shows it.
 */
function addInt(types: BtfBuilder, { size, signed, bigEndian }: IntLayout): number {
  const bits = 8 * size;
  const encoding = signed ? IntEncoding.signed : IntEncoding.unsigned;
  const int = types.int(`${signed ? 's' : 'u'}${bits}`, size, encoding);
  return bigEndian ? types.typedef(`__be${bits}`, int) : int;
}

function index(types: BtfBuilder): number {
  return types.int('u32', 4, IntEncoding.unsigned);
}
