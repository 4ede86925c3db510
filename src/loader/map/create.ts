/**
 * Creating a map: the attribute of BPF_MAP_CREATE, without the fields that an old kernel does not know.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`map_create`).
 */

import { withSourcePosition } from '../../asm/error-position.ts';
import { BPF_F_MMAPABLE, BPF_F_RDONLY_PROG } from '../../asm/flags.ts';
import { isJumpTable } from '../../asm/jump-table.ts';
import { layoutOf } from '../../asm/layout.ts';
import { storageOf } from '../../asm/local-storage.ts';
import { type MapSpec, MapType, mapTypeName, mapTypeSince } from '../../asm/map.ts';
import { mapFault } from '../../asm/map-limits.ts';
import { isMapOfMaps } from '../../asm/map-of-maps.ts';
import { kernelMapType } from '../../asm/map-type.ts';
import { Attr, Command, Descriptor } from '../bpf.ts';
import { type BtfFields, withMapBtf } from '../debug-info.ts';
import { Errno } from '../errno.ts';
import { UnsupportedError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError, withMemlock } from '../permission.ts';
import { createHint, FIRST } from './hints.ts';

/** Offset of `map_name`; an attribute that ends before it suits kernels before 4.15. */
const MAP_NAME = 28;

/** Map flags of later kernels. */
const FLAGS = [
  { flag: BPF_F_MMAPABLE, feature: 'maps in shared memory (BPF_F_MMAPABLE)', since: '5.5' },
  {
    flag: BPF_F_RDONLY_PROG,
    feature: 'maps that are read-only for programs (BPF_F_RDONLY_PROG)',
    since: '5.2',
  },
] as const;

/** Offset of `inner_map_fd`. */
const INNER_MAP = 20;
/** Offset of `map_extra`. */
const MAP_EXTRA = 64;

/** The configuration option that a kernel of the right release may lack. */
const CONFIGURED: Partial<Record<MapType, string>> = {
  [MapType.inodeStorage]: 'CONFIG_BPF_LSM',
  [MapType.cgrpStorage]: 'CONFIG_CGROUPS',
  [MapType.stackTrace]: 'CONFIG_PERF_EVENTS',
};

/**
 * Creates a map. Returns its descriptor. @throws {UnsupportedError} @throws {NotPermittedError} @throws
 * {KernelError}
 */
export function createMap(kernel: Kernel, spec: MapSpec, debug: boolean): number {
  if (!isMapOfMaps(spec)) return createAs(kernel, spec, debug);
  // The kernel takes the type and sizes of the inner maps from a template, which it does not keep.
  const template = new Descriptor(
    kernel.syscalls,
    createAs(kernel, spec.inner, false, 0, `the map '${spec.inner.name}' as a template of '${spec.name}'`),
    `the map '${spec.inner.name}'`,
  );
  try {
    return createAs(kernel, spec, debug, template.fd);
  } finally {
    template.close();
  }
}

function createAs(
  kernel: Kernel,
  spec: MapSpec,
  debug: boolean,
  inner = 0,
  object = `the map '${spec.name}'`,
): number {
  if (spec.type === MapType.ringBuffer && spec.maxEntries % kernel.pageSize !== 0)
    throw new RangeError(
      `the ring buffer '${spec.name}' has ${spec.maxEntries} bytes, which is less than a page of this kernel: use bytes: ${kernel.pageSize} or more`,
    );
  // A spec that was not made by a constructor, or was changed since.
  const fault = mapFault({ type: spec.type, ...sizesOf(spec), flags: spec.flags });
  if (fault !== undefined) throw withSourcePosition(new RangeError(`map '${spec.name}': ${fault}`));
  const attempt = (named: boolean, types?: BtfFields): number => create(kernel, spec, named, inner, types);
  // The kernel demands the types of a storage map.
  const needsTypes = storageOf(spec) !== undefined;
  const typed = debug || needsTypes ? withMapBtf(kernel, spec, (types) => attempt(true, types)) : undefined;
  let result = typed ?? -1;
  // BTF and names are for people only: another map without them works the same.
  if (result < 0 && !(needsTypes && typed !== undefined)) result = attempt(true);
  // Kernels before 4.15 do not know names (E2BIG), and before 5.2 no '.' in a name (EINVAL).
  if (!needsTypes && (result === -Errno.E2BIG || result === -Errno.EINVAL)) result = attempt(false);
  if (result >= 0) return result;
  if (result === -Errno.EINVAL && isJumpTable(spec))
    throw new UnsupportedError('jump tables', '6.19', `'${spec.name}' is a jump table`);
  if (result === -Errno.EINVAL && spec.type === MapType.ringBuffer)
    throw new UnsupportedError(
      'ring buffers',
      '5.8',
      `'${spec.name}' is one; use perfEventArray('${spec.name}', ...), which has the same events`,
    );
  if (REFUSED.has(-result)) refuseType(kernel, spec);
  if (result === -Errno.EINVAL) refuseFlags(kernel, spec);
  throw kernelError(kernel, {
    syscall: 'bpf(BPF_MAP_CREATE)',
    errno: -result,
    tried: `create ${object}`,
    hint: createHint(spec, { ...sizesOf(spec), maxEntries: entriesOf(kernel, spec) }, -result),
  });
}

function create(kernel: Kernel, spec: MapSpec, named: boolean, inner: number, types?: BtfFields): number {
  const sizes = sizesOf(spec);
  const extra = spec.extra === undefined ? 0 : MAP_EXTRA + 8;
  const attr = new Attr(kernel.syscalls, Math.max(extra, types?.size ?? (named ? MAP_NAME + 16 : MAP_NAME)))
    .u32(0, spec.type)
    .u32(4, sizes.key)
    .u32(8, sizes.value)
    .u32(12, entriesOf(kernel, spec))
    .u32(16, spec.flags)
    .u32(INNER_MAP, inner);
  if (named) attr.text(MAP_NAME, spec.name);
  if (spec.extra !== undefined) attr.u64(MAP_EXTRA, BigInt(spec.extra));
  types?.fill(attr);
  return withMemlock(kernel, () => attr.send(Command.mapCreate));
}

/** The sizes of keys and values with which the map of a spec is created. */
export function sizesOf(spec: MapSpec): { readonly key: number; readonly value: number } {
  if (spec.type === MapType.ringBuffer) return { key: 0, value: 0 };
  return { key: layoutOf(spec.key).size, value: layoutOf(spec.value).size };
}

/** The number of entries with which the map of a spec is created. */
export function entriesOf(kernel: Kernel, spec: MapSpec): number {
  if (spec.type !== MapType.perfEventArray || spec.maxEntries > 0) return spec.maxEntries;
  return Math.max(...kernel.possibleCpus) + 1;
}

/** The errnos of a map type or an attribute that the kernel does not know. */
const REFUSED: ReadonlySet<number> = new Set([Errno.EINVAL, Errno.E2BIG, Errno.ENOTSUPP]);

/** Throws an UnsupportedError if the kernel lacks the map type. */
function refuseType(kernel: Kernel, spec: MapSpec): void {
  const since = mapTypeSince(spec.type);
  if (isMapOfMaps(spec) || since === FIRST) return;
  const mapType = kernelMapType(spec.type);
  if (mapType === undefined || kernel.features.support({ mapType }).answer !== 'no') return;
  const option = CONFIGURED[spec.type];
  throw new UnsupportedError(
    `${mapTypeName(spec.type)} maps`,
    since,
    `'${spec.name}' is one${option === undefined ? '' : ` (the kernel also needs ${option})`}`,
  );
}

/** Throws an UnsupportedError if the kernel creates the map without one of its flags. */
function refuseFlags(kernel: Kernel, spec: MapSpec): void {
  for (const { flag, feature, since } of FLAGS) {
    if ((spec.flags & flag) === 0) continue;
    const without = create(kernel, { ...spec, flags: spec.flags & ~flag }, false, 0);
    if (without < 0) continue;
    kernel.syscalls.close(without);
    throw new UnsupportedError(feature, since, `the map '${spec.name}' has this flag`);
  }
}

const FREEZE_HINTS: { readonly [errno: number]: string } = {
  [Errno.EINVAL]: 'this kernel cannot freeze maps (Linux 5.2 and later); create the map without frozen',
  [Errno.ENOTSUPP]: 'maps of this type cannot be frozen; create the map without frozen',
  [Errno.EBUSY]: 'a process can write the map through a mapping, or has frozen it; close the mapping first',
};

/** Makes a map read-only for user space (BPF_MAP_FREEZE). @throws {KernelError} */
export function freezeMap(kernel: Kernel, name: string, fd: number): void {
  const result = new Attr(kernel.syscalls, 4).u32(0, fd).send(Command.mapFreeze);
  if (result < 0)
    throw kernelError(kernel, {
      syscall: 'bpf(BPF_MAP_FREEZE)',
      errno: -result,
      tried: `freeze the map '${name}'`,
      hint: FREEZE_HINTS[-result],
    });
}
