/**
 * Creating a map: the attribute of BPF_MAP_CREATE, without the fields that an old kernel does not know.
 *
 * Source: man 2 bpf, kernel/bpf/syscall.c (`map_create`).
 */

import { BPF_F_MMAPABLE, BPF_F_RDONLY_PROG } from '../../asm/flags.ts';
import { isJumpTable } from '../../asm/jump-table.ts';
import { layoutOf } from '../../asm/layout.ts';
import { type MapSpec, MapType } from '../../asm/map.ts';
import { isMapOfMaps } from '../../asm/map-of-maps.ts';
import { Attr, Command, Descriptor } from '../bpf.ts';
import { type BtfFields, withMapBtf } from '../debug-info.ts';
import { Errno } from '../errno.ts';
import { UnsupportedError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError, withMemlock } from '../permission.ts';

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

/**
 * Creates a map. Returns its descriptor. @throws {UnsupportedError} @throws {NotPermittedError} @throws
 * {KernelError}
 */
export function createMap(kernel: Kernel, spec: MapSpec, debug: boolean): number {
  if (!isMapOfMaps(spec)) return createAs(kernel, spec, debug);
  // The kernel takes the type and sizes of the inner maps from a template, which it does not keep.
  const template = new Descriptor(
    kernel.syscalls,
    createMap(kernel, spec.inner, false),
    `the map '${spec.inner.name}'`,
  );
  try {
    return createAs(kernel, spec, debug, template.fd);
  } finally {
    template.close();
  }
}

function createAs(kernel: Kernel, spec: MapSpec, debug: boolean, inner = 0): number {
  if (spec.type === MapType.ringBuffer && spec.maxEntries % kernel.pageSize !== 0)
    throw new RangeError(
      `the ring buffer '${spec.name}' has ${spec.maxEntries} bytes, which is less than a page of this kernel: use bytes: ${kernel.pageSize} or more`,
    );
  const attempt = (named: boolean, types?: BtfFields): number => create(kernel, spec, named, inner, types);
  let result = (debug ? withMapBtf(kernel, spec, (types) => attempt(true, types)) : undefined) ?? -1;
  // BTF and names are for people only: a map without them works the same.
  if (result < 0) result = attempt(true);
  // Kernels before 4.15 do not know names (E2BIG), and before 5.2 no '.' in a name (EINVAL).
  if (result === -Errno.E2BIG || result === -Errno.EINVAL) result = attempt(false);
  if (result >= 0) return result;
  if (result === -Errno.EINVAL) refuseFlags(kernel, spec);
  if (result === -Errno.EINVAL && isJumpTable(spec))
    throw new UnsupportedError('jump tables', '6.19', `'${spec.name}' is a jump table`);
  if (result === -Errno.EINVAL && spec.type === MapType.ringBuffer)
    throw new UnsupportedError(
      'ring buffers',
      '5.8',
      `'${spec.name}' is one; use perfEventArray('${spec.name}', ...), which has the same events`,
    );
  throw kernelError(kernel, {
    syscall: 'bpf(BPF_MAP_CREATE)',
    errno: -result,
    tried: `create the map '${spec.name}'`,
  });
}

function create(kernel: Kernel, spec: MapSpec, named: boolean, inner: number, types?: BtfFields): number {
  const attr = new Attr(kernel.syscalls, types?.size ?? (named ? MAP_NAME + 16 : MAP_NAME))
    .u32(0, spec.type)
    .u32(4, spec.type === MapType.ringBuffer ? 0 : layoutOf(spec.key).size)
    .u32(8, spec.type === MapType.ringBuffer ? 0 : layoutOf(spec.value).size)
    .u32(12, entriesOf(kernel, spec))
    .u32(16, spec.flags)
    .u32(INNER_MAP, inner);
  if (named) attr.text(MAP_NAME, spec.name);
  types?.fill(attr);
  return withMemlock(kernel, () => attr.send(Command.mapCreate));
}

function entriesOf(kernel: Kernel, spec: MapSpec): number {
  if (spec.type !== MapType.perfEventArray || spec.maxEntries > 0) return spec.maxEntries;
  return Math.max(...kernel.possibleCpus) + 1;
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

/** Makes a map read-only for user space (BPF_MAP_FREEZE). @throws {KernelError} */
export function freezeMap(kernel: Kernel, name: string, fd: number): void {
  const result = new Attr(kernel.syscalls, 4).u32(0, fd).send(Command.mapFreeze);
  if (result < 0)
    throw kernelError(kernel, {
      syscall: 'bpf(BPF_MAP_FREEZE)',
      errno: -result,
      tried: `freeze the map '${name}'`,
    });
}
