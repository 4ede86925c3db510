/** Enum values by name: `TCP_SYN_SENT`. */

import { nearest } from '../nearest.ts';
import { NoSuchFieldError } from './no-such-field.ts';
import type { BtfReader } from './reader.ts';
import { underlying } from './size.ts';
import type { BtfEnumerator } from './types.ts';

/** Implements `Btf.enumValue`. */
export function enumValue(reader: BtfReader, name: string, enumName?: string): number | bigint {
  const ids = enumName === undefined ? reader.enumsWith(name) : [enumId(reader, enumName)];
  const values = Array.from(ids, (id) => valuesOf(reader, id)).flat();
  const found = values.find((candidate) => candidate.name === name);
  if (found !== undefined) return found.value;
  const similar = nearest(
    name,
    values.map((value) => value.name),
  );
  throw new NoSuchFieldError(
    `no value '${name}' in ${enumName === undefined ? 'any enum' : `enum ${enumName}`} of this kernel`,
    enumName ?? '',
    [name],
    similar,
  );
}

function enumId(reader: BtfReader, name: string): number {
  const id = reader.find('enum', name) ?? reader.find('enum64', name) ?? reader.find('typedef', name);
  if (id !== undefined) return id;
  throw new NoSuchFieldError(`this kernel has no enum '${name}'`, name, [], []);
}

function valuesOf(reader: BtfReader, id: number): readonly BtfEnumerator[] {
  const { type } = underlying(reader, id);
  return type.kind === 'enum' || type.kind === 'enum64' ? type.values : [];
}
