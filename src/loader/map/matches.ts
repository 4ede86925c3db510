/** Compares a map in the kernel with the spec that this process opens it by. */
import { layoutDifferences } from '../../asm/btf/compare.ts';
import { BtfReader } from '../../asm/btf/reader.ts';
import { BPF_F_RDONLY, BPF_F_WRONLY } from '../../asm/flags.ts';
import { layoutOf } from '../../asm/layout.ts';
import { type MapSpec, MapType, mapTypeName } from '../../asm/map.ts';
import { MapMismatchError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { mapInfo } from '../loaded/map-info.ts';
import { readBtfBytes } from '../loaded.ts';
import { entriesOf, sizesOf } from './create.ts';

/** Flags of the creator's descriptor, not of the map. */
const OF_DESCRIPTOR = BPF_F_RDONLY | BPF_F_WRONLY;

/**
 * Throws an error that names each difference between a map and a spec: type, sizes, flags, `extra`, and the
 * fields of keys and values if the map has BTF.
 * @throws {MapMismatchError} @throws {KernelError}
 */
export function checkMatches(kernel: Kernel, spec: MapSpec, fd: number, where: string): void {
  const info = mapInfo(kernel, fd, `the map ${where}`);
  const sizes = sizesOf(spec);
  const differences: string[] = [];
  const compare = (what: string, inKernel: number | string, inSpec: number | string): void => {
    if (inKernel !== inSpec)
      differences.push(`${what} is ${inKernel} in the kernel, and ${inSpec} in the spec`);
  };
  const hex = (flags: number): string => `0x${(flags & ~OF_DESCRIPTOR).toString(16)}`;
  compare('type', typeName(info.type), typeName(spec.type));
  compare('maxEntries', info.maxEntries, entriesOf(kernel, spec));
  compare('flags', hex(info.flags), hex(spec.flags));
  if (info.extra !== undefined) compare('extra', info.extra, spec.extra ?? 0);
  const bytes = info.btfId === 0 ? undefined : readBtfBytes(kernel, info.btfId);
  const types = bytes && new BtfReader(bytes);
  for (const [name, size, wanted, schema, type] of [
    ['key', info.keySize, sizes.key, spec.key, info.keyType],
    ['value', info.valueSize, sizes.value, spec.value, info.valueType],
  ] as const) {
    const found = types && type !== 0 ? layoutDifferences(types, type, layoutOf(schema), name) : [];
    differences.push(...found);
    if (found.length === 0) compare(`${name} size`, size, wanted);
  }
  if (differences.length > 0) throw new MapMismatchError(spec.name, where, differences);
}

function typeName(type: number): string {
  const known = Object.values(MapType).find((each) => each === type);
  return known === undefined ? `number ${type}` : mapTypeName(known);
}
