/**
 * Maps, links and BTF objects of the system, by their ids.
 *
 * Source: man 2 bpf; include/uapi/linux/bpf.h (`struct bpf_link_info`, `bpf_btf_info`).
 */
import { allocate, Command, Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { objectInfo } from '../object-info.ts';
import { kernelError } from '../permission.ts';
import { decodeCString } from '../text.ts';
import { fdById, idsOf } from './find.ts';
import { type LoadedMap, mapInfo } from './map-info.ts';

/**
 * A link that any process has created, as the kernel reports it. Holds no kernel resource.
 *
 * Source: `struct bpf_link_info`, include/uapi/linux/bpf.h.
 * @example
 * ```ts no run
 * import { Kernel, type LoadedLink, loadedLinks } from 'tsbpf';
 *
 * const links: LoadedLink[] = [...loadedLinks(new Kernel())];
 * for (const { id, type, programId } of links) console.log(id, type, programId);
 * ```
 */
export interface LoadedLink {
  /** The link's id, as in `bpftool link show`. */
  readonly id: number;
  /** The kind of attachment by the kernel's name (`enum bpf_link_type`): `raw_tracepoint`, `perf_event`. */
  readonly type: string;
  /** The id of the attached program. */
  readonly programId: number;
  /** The name of a raw tracepoint, or of the function or tracepoint of a perf event (Linux 6.6). */
  readonly target?: string;
}

/**
 * A BTF object that is loaded, as the kernel reports it. Holds no kernel resource.
 *
 * Source: `struct bpf_btf_info`, include/uapi/linux/bpf.h.
 * @example
 * ```ts no run
 * import { Kernel, type LoadedBtf, loadedBtfs } from 'tsbpf';
 *
 * const all: LoadedBtf[] = [...loadedBtfs(new Kernel())];
 * console.log(all.filter(({ isKernel }) => isKernel).map(({ name }) => name)); // vmlinux, ...
 * ```
 */
export interface LoadedBtf {
  /** The id of the BTF object, as in `bpftool btf show`. */
  readonly id: number;
  /** The size in bytes. */
  readonly size: number;
  /** Whether it is that of the kernel or a module (Linux 5.11). */
  readonly isKernel: boolean;
  /** `vmlinux` or the module's name; empty for BTF that a process loaded. */
  readonly name: string;
}

/** A kind of object: its commands, the first kernel that lists it, and its name in messages. */
interface Listing {
  readonly next: number;
  readonly open: number;
  readonly command: string;
  readonly since: string;
  readonly object: string;
}

const MAPS: Listing = {
  ...{ next: Command.mapGetNextId, open: Command.mapGetFdById, command: 'BPF_MAP', since: '4.13' },
  object: 'map',
};
const LINKS: Listing = {
  ...{ next: Command.linkGetNextId, open: Command.linkGetFdById, command: 'BPF_LINK', since: '5.8' },
  object: 'link',
};
const BTFS: Listing = {
  ...{ next: Command.btfGetNextId, open: Command.btfGetFdById, command: 'BPF_BTF', since: '5.4' },
  object: 'BTF object',
};

/**
 * Lists the maps of all processes by ascending id. A map that is created or freed during the listing may be
 * missing.
 *
 * Minimum kernel: 4.13. Source: man 2 bpf (BPF_MAP_GET_NEXT_ID).
 * @throws {NotPermittedError} @throws {KernelError}
 * @example
 * ```ts
 * import { Kernel, loadedMaps } from 'tsbpf';
 *
 * for (const { id, name, maxEntries } of loadedMaps(new Kernel())) console.log(id, name, maxEntries);
 * ```
 */
export function loadedMaps(kernel: Kernel): Generator<LoadedMap, void, undefined> {
  return listed(kernel, MAPS, (fd, object) => mapInfo(kernel, fd, object));
}

/**
 * Lists the links of all processes by ascending id, as `loadedMaps`.
 *
 * Minimum kernel: 5.8. Source: man 2 bpf (BPF_LINK_GET_NEXT_ID).
 * @throws {NotPermittedError} @throws {KernelError} `EINVAL` before Linux 5.8.
 * @example
 * ```ts
 * import { Kernel, loadedLinks } from 'tsbpf';
 *
 * for (const { id, type, target } of loadedLinks(new Kernel())) console.log(id, type, target);
 * ```
 */
export function loadedLinks(kernel: Kernel): Generator<LoadedLink, void, undefined> {
  return listed(kernel, LINKS, (fd, object) => linkInfo(kernel, fd, object));
}

/**
 * Lists the BTF objects of the kernel, its modules and all processes by ascending id, as `loadedMaps`.
 *
 * Minimum kernel: 5.4. Source: man 2 bpf (BPF_BTF_GET_NEXT_ID).
 * @throws {NotPermittedError} @throws {KernelError} `EINVAL` before Linux 5.4.
 * @example
 * ```ts
 * import { Kernel, loadedBtfs } from 'tsbpf';
 *
 * for (const { id, name, size } of loadedBtfs(new Kernel())) console.log(id, name, size);
 * ```
 */
export function loadedBtfs(kernel: Kernel): Generator<LoadedBtf, void, undefined> {
  return listed(kernel, BTFS, (fd, object) => btfInfo(kernel, fd, object));
}

function* listed<T>(
  kernel: Kernel,
  { next, open, command, since, object }: Listing,
  read: (fd: number, object: string) => T,
): Generator<T, void, undefined> {
  for (const id of idsOf(kernel, next, `bpf(${command}_GET_NEXT_ID)`, `list the ${object}s`, since)) {
    const fd = fdById(kernel, open, id);
    if (fd === -Errno.ENOENT) continue; // removed since it was listed
    const name = `the ${object} with the id ${id}`;
    if (fd < 0)
      throw kernelError(kernel, {
        syscall: `bpf(${command}_GET_FD_BY_ID)`,
        errno: -fd,
        tried: `open ${name}`,
      });
    const descriptor = new Descriptor(kernel.syscalls, fd, name);
    let info: T;
    try {
      info = read(descriptor.fd, name);
    } finally {
      descriptor.close();
    }
    yield info;
  }
}

/** `enum bpf_link_type`, by number. */
const LINK_TYPES = [
  ...['unspec', 'raw_tracepoint', 'tracing', 'cgroup', 'iter', 'netns', 'xdp', 'perf_event'],
  ...['kprobe_multi', 'struct_ops', 'netfilter', 'tcx', 'uprobe_multi', 'netkit', 'sockmap'],
];

/** Offsets into `struct bpf_link_info`, and `enum bpf_perf_event_type`. */
const At = {
  ...{ type: 0, id: 4, program: 8, tracepoint: 16, tracepointLength: 24 },
  ...{ perfType: 16, symbol: 24, symbolLength: 32, size: 56 },
} as const;
/** The types of perf links with a name at `symbol`: kprobe, kretprobe and tracepoint. */
const NAMED: ReadonlySet<number> = new Set([3, 4, 5]);

/** Reads the information about a link. @throws {KernelError} */
export function linkInfo(kernel: Kernel, fd: number, object: string): LoadedLink {
  const { view } = objectInfo(kernel, fd, At.size, undefined, object);
  const number = view.getUint32(At.type, true);
  const type = LINK_TYPES[number] ?? `type ${number}`;
  const isNamed = NAMED.has(view.getUint32(At.perfType, true));
  const target =
    type === 'raw_tracepoint'
      ? nameOf(kernel, fd, object, At.tracepoint, At.tracepointLength)
      : type === 'perf_event' && isNamed
        ? nameOf(kernel, fd, object, At.symbol, At.symbolLength)
        : '';
  return {
    id: view.getUint32(At.id, true),
    type,
    programId: view.getUint32(At.program, true),
    ...(target !== '' && { target }),
  };
}

/** Reads a name that the kernel writes to a buffer, with the offsets of the buffer's address and size. */
function nameOf(kernel: Kernel, fd: number, object: string, address: number, length: number): string {
  const name = allocate(256);
  objectInfo(kernel, fd, length + 4, (attr) => attr.pointer(address, name).u32(length, name.length), object);
  return decodeCString(name);
}

/** Reads the information about a BTF object. @throws {KernelError} */
export function btfInfo(kernel: Kernel, fd: number, object: string): LoadedBtf {
  const [SIZE, ID, NAME, NAME_LENGTH, IS_KERNEL, size] = [8, 12, 16, 24, 28, 32];
  const { view, known } = objectInfo(kernel, fd, size, undefined, object);
  return {
    id: view.getUint32(ID, true),
    size: view.getUint32(SIZE, true),
    isKernel: view.getUint32(IS_KERNEL, true) !== 0,
    // Before Linux 5.11 the kernel knows 16 bytes and refuses values in the rest (E2BIG).
    name: known < size ? '' : nameOf(kernel, fd, object, NAME, NAME_LENGTH),
  };
}
