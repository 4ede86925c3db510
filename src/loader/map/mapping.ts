/** Kernel memory that is mapped into this process. */
import { Errno } from '../errno.ts';
import { ClosedError, KernelError, mmapHint } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import type { Closeable } from '../resources.ts';

/** Arrays over the mapped memory, by the size of their elements in bytes, for atomic access. */
export interface Words {
  readonly 1: Uint8Array;
  readonly 2: Uint16Array;
  readonly 4: Uint32Array;
  readonly 8: BigUint64Array;
}

/** The cause of errnos of a map that user space, or programs too, may not write. */
const HINTS: { readonly [errno: number]: string } = {
  [Errno.EPERM]: 'the map is frozen, and a view can write; read it with lookup',
  [Errno.EACCES]: 'the flags of the map forbid writing, and a view can write; read it with lookup',
};

/**
 * An owned mapping. Its memory is accessible only through this object and until `close()`: reading unmapped
 * memory would crash the process.
 */
export class Mapping implements Closeable {
  readonly #kernel: Kernel;
  readonly #name: string;
  readonly #buffer: ArrayBuffer;
  #words: Words | undefined;

  private constructor(kernel: Kernel, name: string, buffer: ArrayBuffer) {
    this.#kernel = kernel;
    this.#name = name;
    this.#buffer = buffer;
    this.#words = {
      1: new Uint8Array(buffer),
      2: new Uint16Array(buffer),
      4: new Uint32Array(buffer),
      8: new BigUint64Array(buffer),
    };
  }

  /**
   * Maps the first `bytes` of a descriptor, rounded up to whole pages. The caller closes the mapping. @throws
   * {KernelError}
   */
  static open(kernel: Kernel, fd: number, bytes: number, name: string): Mapping {
    const length = Math.ceil(bytes / kernel.pageSize) * kernel.pageSize;
    const buffer = kernel.syscalls.mmap(fd, length);
    if (typeof buffer === 'number')
      throw new KernelError({
        syscall: 'mmap',
        errno: -buffer,
        tried: `map ${name}, ${length} bytes`,
        hint: HINTS[-buffer] ?? mmapHint(-buffer),
      });
    return new Mapping(kernel, name, buffer);
  }

  /** The memory, for one access; do not store it. @throws {ClosedError} after `close()`. */
  get words(): Words {
    if (!this.#words) throw new ClosedError(this.#name);
    return this.#words;
  }

  close(): void {
    if (!this.#words) return;
    this.#words = undefined;
    this.#kernel.syscalls.munmap(this.#buffer);
  }
}
