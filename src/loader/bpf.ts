/**
 * Attributes of `bpf(2)` and `perf_event_open(2)` as bytes, and descriptors that are owned.
 *
 * Source: man 2 bpf, include/uapi/linux/bpf.h (`union bpf_attr`).
 */
import { ClosedError, KernelError } from './errors.ts';
import type { Closeable } from './resources.ts';
import type { Syscalls } from './syscalls.ts';

/** Commands of `bpf(2)` (`enum bpf_cmd`). */
export const Command = {
  mapCreate: 0,
  mapLookupElem: 1,
  mapUpdateElem: 2,
  mapDeleteElem: 3,
  mapGetNextKey: 4,
  progLoad: 5,
  objGet: 7,
  progTestRun: 10,
  progGetNextId: 11,
  progGetFdById: 13,
  mapGetFdById: 14,
  objGetInfoByFd: 15,
  rawTracepointOpen: 17,
  btfLoad: 18,
  btfGetFdById: 19,
  mapFreeze: 22,
  linkCreate: 28,
  enableStats: 32,
} as const;

/** Memory that keeps its address: a typed array of its own, since V8 keeps small ones where it may move them. */
export function allocate(size: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(size));
}

/** A copy that keeps its address. */
export function allocateCopy(bytes: Uint8Array): Uint8Array {
  const copy = allocate(bytes.length);
  copy.set(bytes);
  return copy;
}

/** A text as C has it, with its zero. */
export function cString(text: string): Uint8Array {
  return allocateCopy(Buffer.from(`${text}\0`));
}

/** Attributes of the call under way: reachable from here, what they point at isn't collected during the call. */
const inFlight = new Set<Attr>();

/** A zeroed attribute that holds on to what it points at. */
export class Attr {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #syscalls: Syscalls;
  readonly #pinned = new Map<number, Uint8Array>();

  constructor(syscalls: Syscalls, size: number) {
    this.#syscalls = syscalls;
    this.bytes = allocate(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }

  u64(offset: number, value: bigint): this {
    this.#view.setBigUint64(offset, value, true);
    return this;
  }

  /** The address of `target`, which stays alive as long as this attribute does. */
  pointer(offset: number, target: Uint8Array): this {
    this.#pinned.set(offset, target);
    return this.u64(offset, this.#syscalls.address(target));
  }

  /** A name, cut to the 15 characters the kernel has room for. */
  text(offset: number, text: string): this {
    this.bytes.set(Buffer.from(text, 'latin1').subarray(0, 15), offset);
    return this;
  }

  getU32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** Sends it to `bpf(2)`: the result, or minus the errno. */
  send(command: number): number {
    return this.use((bytes) => this.#syscalls.bpf(command, bytes));
  }

  /** Runs a call with it, which may read what it points at. */
  use(call: (bytes: Uint8Array) => number): number {
    inFlight.add(this);
    const result = call(this.bytes);
    inFlight.delete(this);
    return result;
  }
}

/** An open descriptor with one owner. */
export class Descriptor implements Closeable {
  readonly #syscalls: Syscalls;
  #fd: number;

  /** Takes over `fd`. 0, 1 and 2 are moved away first: 0 reads as "none" in the kernel's attributes. */
  constructor(syscalls: Syscalls, fd: number) {
    this.#syscalls = syscalls;
    this.#fd = fd;
    if (fd > 2) return;
    const moved = syscalls.dup(fd);
    syscalls.close(fd);
    if (moved < 0)
      throw new KernelError({
        syscall: 'fcntl(F_DUPFD_CLOEXEC)',
        errno: -moved,
        tried: `move the descriptor ${fd} away`,
      });
    this.#fd = moved;
  }

  /** @throws after `close()`. */
  get fd(): number {
    if (this.#fd < 0) throw new ClosedError('used after it was closed');
    return this.#fd;
  }

  close(): void {
    if (this.#fd >= 0) this.#syscalls.close(this.#fd);
    this.#fd = -1;
  }
}
