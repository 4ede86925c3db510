/**
 * Attributes of `bpf(2)` and `perf_event_open(2)` as bytes, and owned file descriptors.
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
  objPin: 6,
  objGet: 7,
  progAttach: 8,
  progTestRun: 10,
  progGetNextId: 11,
  mapGetNextId: 12,
  progGetFdById: 13,
  mapGetFdById: 14,
  objGetInfoByFd: 15,
  rawTracepointOpen: 17,
  btfLoad: 18,
  btfGetFdById: 19,
  mapLookupAndDeleteElem: 21,
  mapFreeze: 22,
  btfGetNextId: 23,
  mapLookupBatch: 24,
  mapLookupAndDeleteBatch: 25,
  mapUpdateBatch: 26,
  mapDeleteBatch: 27,
  linkCreate: 28,
  linkGetFdById: 30,
  linkGetNextId: 31,
  enableStats: 32,
} as const;

/**
 * Allocates zeroed memory with a fixed address. V8 may move small typed arrays that it allocates itself, but
 * not the memory of an explicit `ArrayBuffer`.
 */
export function allocate(size: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(size));
}

/** Copies bytes into memory with a fixed address. */
export function allocateCopy(bytes: Uint8Array): Uint8Array {
  const copy = allocate(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Encodes a text as a C string: UTF-8 with a final NUL. */
export function cString(text: string): Uint8Array {
  return allocateCopy(Buffer.from(`${text}\0`));
}

/** Attributes in use by a system call. This set keeps the memory that they point to from being collected. */
const inFlight = new Set<Attr>();

/** An attribute, zeroed at first, that keeps the memory that it points to alive. */
export class Attr {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #syscalls: Syscalls;
  readonly #pinned: Uint8Array[] = [];

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

  /** Writes the address of `target`, which stays alive as long as this attribute. */
  pointer(offset: number, target: Uint8Array): this {
    return this.u64(offset, this.addressOf(target));
  }

  /**
   * Returns the address of `target`, which stays alive as long as this attribute: for arrays of pointers.
   */
  addressOf(target: Uint8Array): bigint {
    this.#pinned.push(target);
    return this.#syscalls.address(target);
  }

  /** Writes an object name, cut to the kernel's 15 characters. */
  text(offset: number, text: string): this {
    this.bytes.set(Buffer.from(text, 'latin1').subarray(0, 15), offset);
    return this;
  }

  getU32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** Calls `bpf(2)` with this attribute. Returns the result, or minus the errno. */
  send(command: number): number {
    return this.use((bytes) => this.#syscalls.bpf(command, bytes));
  }

  /**
   * Runs a system call with the attribute's bytes, and keeps the memory that they point to alive during it.
   */
  use(call: (bytes: Uint8Array) => number): number {
    inFlight.add(this);
    const result = call(this.bytes);
    inFlight.delete(this);
    return result;
  }
}

/**
 * An open file descriptor with one owner, who closes it.
 *
 * Returned by `openCgroup` and `measureRuns`.
 * @example
 * ```ts no run
 * import { type Descriptor, Kernel, openCgroup } from 'tsbpf';
 *
 * const cgroup: Descriptor = openCgroup(new Kernel(), '/sys/fs/cgroup');
 * console.log(cgroup.fd);
 * cgroup.close();
 * ```
 */
export class Descriptor implements Closeable {
  readonly #syscalls: Syscalls;
  readonly #name: string;
  #fd: number;

  /**
   * Takes ownership of `fd`. Moves 0, 1 and 2 to a higher number, because the kernel's attributes read 0 as
   * "none".
   * `name` says in error messages what the descriptor refers to: `the map 'counts'`.
   */
  constructor(syscalls: Syscalls, fd: number, name: string) {
    this.#syscalls = syscalls;
    this.#name = name;
    this.#fd = fd > 2 ? syscalls.adopt(fd) : fd;
    if (fd > 2) return;
    const moved = syscalls.dup(fd);
    syscalls.close(fd);
    if (moved < 0)
      throw new KernelError({
        syscall: 'fcntl(F_DUPFD_CLOEXEC)',
        errno: -moved,
        tried: `move the descriptor ${fd} of ${name} to a number above 2`,
      });
    this.#fd = syscalls.adopt(moved);
  }

  /** The descriptor's number. @throws {ClosedError} after `close()`. */
  get fd(): number {
    if (this.#fd < 0) throw new ClosedError(this.#name);
    return this.#fd;
  }

  /** Closes the descriptor. A second call does nothing. */
  close(): void {
    if (this.#fd >= 0) this.#syscalls.close(this.#fd);
    this.#fd = -1;
  }
}
