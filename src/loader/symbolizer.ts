/**
 * Names for the addresses of stacks: functions of the kernel and of processes.
 *
 * Source: man 5 proc_kallsyms, man 5 proc_pid_maps, man 5 elf.
 */

import type { FunctionTable } from '../asm/elf/functions.ts';
import { printable } from '../asm/printable.ts';
import type { Kernel } from './kernel.ts';
import { FunctionFiles } from './symbolizer/files.ts';
import { type ExecutableMapping, mappingAt, parseMappings } from './symbolizer/mappings.ts';
import type { PerfMap } from './symbolizer/perf-map.ts';
import { utf8 } from './text.ts';

/**
 * A frame of a stack: an address with the function that contains it.
 *
 * `symbol` and `file` are exact and may contain any characters; `frameText` is safe for a terminal. C++ names
 * are mangled, as in the file.
 *
 * @example
 * ```ts
 * import { frameText, type StackFrame } from 'tsbpf';
 *
 * const frame: StackFrame = { address: 0x55d0_1234n, symbol: 'main', offset: 28, file: '/usr/bin/app' };
 * console.log(frameText(frame)); // main+0x1c (/usr/bin/app)
 * ```
 */
export interface StackFrame {
  /** The address of the next instruction of the function. */
  readonly address: bigint;
  /** The name of the function. Absent if it is unknown: the file has no symbols, or is gone. */
  readonly symbol?: string;
  /**
   * The distance from the start of the function in bytes. Without `symbol`, the address as the file counts
   * it, for addr2line. Absent without `file`.
   */
  readonly offset?: number;
  /**
   * The path of the executable or library, as the kernel shows it: ` (deleted)` may follow. `[kernel]`, the
   * module in brackets, or `[vdso]`. Absent for memory without a file, such as compiled JavaScript.
   */
  readonly file?: string;
}

/**
 * Returns a frame as text for a terminal: `main+0x1c (/usr/bin/app)`. Unprintable characters are escaped.
 *
 * @example
 * ```ts
 * import { frameText } from 'tsbpf';
 *
 * console.log(frameText({ address: 0xffff_ffff_8100_0000n })); // 0xffffffff81000000
 * ```
 */
export function frameText({ address, symbol, offset = 0, file }: StackFrame): string {
  const at = `+0x${offset.toString(16)}`;
  const name = symbol === undefined ? `0x${address.toString(16)}` : `${printable(symbol)}${at}`;
  if (file === undefined) return name;
  return `${name} (${printable(file)}${symbol === undefined ? at : ''})`;
}

/**
 * Finds the functions of addresses, such as those of a `stackTrace` map or of `getStack`.
 *
 * It keeps what it reads: the kernel's symbols, and the functions of up to 256 files, by device, inode, size
 * and time of change. It owns no kernel resource and needs no closing. One object for the process is enough;
 * `session.stack` uses one of the session.
 *
 * Symbols come from `.symtab`, or `.dynsym` in a stripped file, which has only exported functions; other
 * functions of such a file have no name. Files of 32-bit processes have none.
 *
 * @example
 * ```ts
 * import { frameText, Kernel, Symbolizer } from 'tsbpf';
 *
 * const symbolizer = new Symbolizer(new Kernel());
 * const self = symbolizer.process(process.pid);
 * for (const frame of self.frames([0x40_1000n])) console.log(frameText(frame));
 * ```
 */
export class Symbolizer {
  readonly #kernel: Kernel;
  readonly #files: FunctionFiles;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#files = new FunctionFiles(kernel);
  }

  /** Returns the frames of a kernel stack, innermost first, by /proc/kallsyms: see `kernel.symbolAt`. */
  kernelFrames(addresses: Iterable<bigint>): StackFrame[] {
    return Array.from(addresses, (address, index) => {
      const symbol = this.#kernel.symbolAt(inside(address, index));
      if (symbol === undefined) return { address };
      const { name, offset, module = 'kernel' } = symbol;
      return {
        address,
        symbol: name,
        offset: offset + Number(address - inside(address, index)),
        file: `[${module}]`,
      };
    });
  }

  /**
   * Reads the mappings of a process (/proc/PID/maps), for any number of its stacks. Take another snapshot
   * after it has loaded libraries or executed another program. If the process is gone, its frames have
   * addresses only.
   *
   * Needs the permission to trace the process (man 2 ptrace).
   * @param pid the PID as this process sees it in /proc.
   */
  process(pid: number): ProcessSymbols {
    const maps = this.#kernel.syscalls.readFile(`/proc/${pid}/maps`);
    return new ProcessSymbols(pid, typeof maps === 'number' ? [] : parseMappings(utf8(maps)), this.#files);
  }
}

/** The functions of a process, as it was when `Symbolizer.process` read its mappings. */
export class ProcessSymbols {
  readonly #pid: number;
  readonly #mappings: readonly ExecutableMapping[];
  readonly #files: FunctionFiles;
  /** What each mapping contains, as far as frames needed it. */
  readonly #tables = new Map<ExecutableMapping, FunctionTable | undefined>();
  #compiled: { readonly map: PerfMap | undefined } | undefined;

  constructor(pid: number, mappings: readonly ExecutableMapping[], files: FunctionFiles) {
    this.#pid = pid;
    this.#mappings = mappings;
    this.#files = files;
  }

  /** Whether the process existed and its mappings could be read. */
  get isKnown(): boolean {
    return this.#mappings.length > 0;
  }

  /** Returns the frames of a user stack, innermost first. */
  frames(addresses: Iterable<bigint>): StackFrame[] {
    return Array.from(addresses, (address, index) => this.#frame(address, index));
  }

  #frame(address: bigint, index: number): StackFrame {
    const at = inside(address, index);
    const mapping = mappingAt(this.#mappings, at);
    if (mapping === undefined) return { address };
    const table = this.#tableOf(mapping);
    const after = Number(address - at);
    if (table === undefined) {
      this.#compiled ??= { map: this.#files.compiledBy(this.#pid) };
      const compiled = this.#compiled.map?.at(at);
      if (compiled) return { address, symbol: compiled.name, offset: compiled.offset + after };
    }
    const file = mapping.path === '' ? undefined : mapping.path;
    if (file === undefined) return { address };
    const inFile = Number(at - mapping.start) + mapping.offset;
    const place = table?.addressOf(inFile);
    const found = place === undefined ? undefined : table?.at(place);
    if (found === undefined) return { address, offset: (place ?? inFile) + after, file };
    return { address, symbol: found.name, offset: found.offset + after, file };
  }

  #tableOf(mapping: ExecutableMapping): FunctionTable | undefined {
    if (!this.#tables.has(mapping)) this.#tables.set(mapping, this.#files.functionsOf(this.#pid, mapping));
    return this.#tables.get(mapping);
  }
}

/**
 * An address inside the call. The frames after the first have return addresses, and the call may be the last
 * instruction of its function.
 */
function inside(address: bigint, index: number): bigint {
  return index === 0 ? address : address - 1n;
}
