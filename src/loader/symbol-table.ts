/**
 * The kernel's symbols by address.
 *
 * Source: man 5 proc_kallsyms, kernel/kallsyms.c.
 */
import { countLeading } from '../asm/count-leading.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * The symbol of a kernel address, returned by `kernel.symbolAt`.
 *
 * @example
 * ```ts
 * import { Kernel, type KernelSymbol } from 'tsbpf';
 *
 * const symbol: KernelSymbol | undefined = new Kernel().symbolAt(0xffff_ffff_8100_0000n);
 * console.log(symbol === undefined ? 'hidden' : `${symbol.name}+${symbol.offset}`);
 * ```
 */
export interface KernelSymbol {
  /** The name of the function or variable. */
  readonly name: string;
  /** The distance of the address from the start of the symbol, in bytes. */
  readonly offset: number;
  /** The name of the symbol's module. Absent for the kernel itself. */
  readonly module?: string;
}

/** Reads /proc/kallsyms. Empty if it cannot be read. */
export function readKallsyms(syscalls: Syscalls): Buffer {
  const bytes = syscalls.readFile('/proc/kallsyms');
  return typeof bytes === 'number'
    ? Buffer.alloc(0)
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The lowest kernel address. Lower addresses belong to processes. */
const KERNEL_SPACE = 1n << 63n;
/** The largest distance from a symbol in bytes: kallsyms has no sizes. */
const LARGEST = 1n << 20n;
const NEWLINE = 10;

/** The lines of /proc/kallsyms, sorted by address. */
export class SymbolTable {
  readonly #text: Buffer;
  /** The addresses of the symbols, ascending. */
  readonly #addresses: BigUint64Array;
  /** The start of each symbol's line, in the same order. */
  readonly #lines: Uint32Array;

  /**
   * Reads the content of /proc/kallsyms. The table is empty if the kernel hides addresses
   * (`kernel.kptr_restrict`).
   */
  constructor(content: Buffer) {
    this.#text = content;
    const symbols: { readonly address: bigint; readonly line: number }[] = [];
    for (let line = 0; line < content.length; ) {
      const end = content.indexOf(NEWLINE, line);
      const space = content.indexOf(32, line);
      const hex = this.#text.toString('latin1', line, space);
      if (/^[0-9a-f]{16}$/.test(hex)) {
        const address = BigInt(`0x${hex}`);
        if (address >= KERNEL_SPACE) symbols.push({ address, line });
      }
      if (end < 0) break;
      line = end + 1;
    }
    // The sort is stable, so of several names for one address the first remains the first.
    symbols.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    this.#addresses = BigUint64Array.from(symbols, ({ address }) => address);
    this.#lines = Uint32Array.from(symbols, ({ line }) => line);
  }

  /** Returns the last symbol at or before an address, or undefined if there is none near it. */
  at(address: bigint): KernelSymbol | undefined {
    const addresses = this.#addresses;
    let index = countLeading(addresses.length, (each) => (addresses[each] as bigint) <= address) - 1;
    const start = addresses[index];
    if (start === undefined || address - start >= LARGEST) return undefined;
    while (addresses[index - 1] === start) index--;
    const line = this.#lines[index] as number;
    const end = this.#text.indexOf(NEWLINE, line);
    const text = this.#text.toString('latin1', line, end < 0 ? undefined : end);
    const [, name = '', module] = /^\S+ \S (\S+)(?:\s+\[(.+)\])?/.exec(text) ?? [];
    return { name, offset: Number(address - start), ...(module !== undefined && { module }) };
  }
}
