/** Memory of the kernel's that this process sees. */
import { ClosedError, KernelError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import type { Closeable } from '../resources.ts';

/** The arrays by which memory is read and written in one step, by their elements' bytes. */
export interface Words {
  readonly 1: Uint8Array;
  readonly 2: Uint16Array;
  readonly 4: Uint32Array;
  readonly 8: BigUint64Array;
}

/**
 * A mapping that is owned. Its memory is only reached through this object, and not after `close()`: reading what isn't mapped any more would
 * end the process.
 */
export class Mapping implements Closeable {
  readonly #kernel: Kernel;
  readonly #what: string;
  readonly #buffer: ArrayBuffer;
  #words: Words | undefined;

  private constructor(kernel: Kernel, what: string, buffer: ArrayBuffer) {
    this.#kernel = kernel;
    this.#what = what;
    this.#buffer = buffer;
    this.#words = {
      1: new Uint8Array(buffer),
      2: new Uint16Array(buffer),
      4: new Uint32Array(buffer),
      8: new BigUint64Array(buffer),
    };
  }

  /** Maps the first bytes of what `fd` stands for, whole pages of them. The caller owns the result. @throws {KernelError} */
  static open(kernel: Kernel, fd: number, bytes: number, what: string): Mapping {
    const length = Math.ceil(bytes / kernel.pageSize) * kernel.pageSize;
    const buffer = kernel.syscalls.mmap(fd, length);
    if (typeof buffer === 'number')
      throw new KernelError({ syscall: 'mmap', errno: -buffer, tried: `map ${what}, ${length} bytes` });
    return new Mapping(kernel, what, buffer);
  }

  /** The memory, for one access: not to be kept. @throws after `close()`. */
  get words(): Words {
    if (!this.#words) throw new ClosedError(this.#what);
    return this.#words;
  }

  close(): void {
    if (!this.#words) return;
    this.#words = undefined;
    this.#kernel.syscalls.munmap(this.#buffer);
  }
}
