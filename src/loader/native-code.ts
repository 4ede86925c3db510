/** Loading koffi, the native code for system calls, and the errors if that fails. */

import { TsbpfError } from '../asm/error.ts';
import { readAtMost } from './read-file.ts';

/**
 * koffi, through which tsbpf makes system calls, cannot be loaded: it is not installed for this machine, Node
 * forbids native code, or address space is short. The message names the remedy.
 *
 * @example
 * ```ts
 * import { Kernel, NativeCodeError } from 'tsbpf';
 *
 * try {
 *   console.log(new Kernel().release);
 * } catch (error) {
 *   if (error instanceof NativeCodeError) console.error(error.message);
 * }
 * ```
 */
export class NativeCodeError extends TsbpfError {
  override readonly name = 'NativeCodeError';
  override readonly code = 'ERR_NATIVE_CODE';
}

/**
 * Runs `load`. @throws {NativeCodeError} if it fails, or would abort the process for lack of address space.
 */
export function loadNativeCode<T>(load: () => T): T {
  const shortage = addressSpaceShortage();
  if (shortage !== undefined) throw new NativeCodeError(shortage);
  try {
    return load();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const [reason = ''] = message.split('\n'); // the rest is Node's require stack
    throw new NativeCodeError(
      `cannot load koffi, through which tsbpf makes its system calls: ${explain(code, reason)}`,
      { cause: error },
    );
  }
}

const INSTALL = 'install it on this machine (in a clone: npm ci; elsewhere: npm install koffi)';

/** Returns the cause of a failed load and the remedy. */
function explain(code: string | undefined, reason: string): string {
  if (code === 'ERR_DLOPEN_DISABLED')
    return "an option forbids native code; remove --no-addons or --permission from Node's command line and NODE_OPTIONS";
  if (code === 'ERR_NO_FOLDER') return reason; // of the single executable, with its remedy
  if (reason.startsWith("Cannot find module 'koffi'")) return `it is missing; ${INSTALL}`;
  if (reason.startsWith('Cannot find the native Koffi module'))
    return `its binary for ${process.platform}-${process.arch} is missing; ${INSTALL}, without --omit=optional`;
  if (code === 'ERR_DLOPEN_FAILED') {
    const [, file = ''] = /^(\/.*?\.node): /.exec(reason) ?? [];
    const machine = machineOf(file);
    if (machine !== undefined && machine !== MACHINES[process.arch])
      return `${file} is built for another processor; ${INSTALL}`;
    // glibc's message names neither EPERM nor ENOMEM.
    if (reason.includes('failed to map segment'))
      return `${reason}: its file system is mounted noexec, or memory is short; move the installation, or raise ulimit -v`;
  }
  return `${reason}; ${INSTALL}`;
}

/** Processors by their numbers in ELF files (`e_machine`, include/uapi/linux/elf-em.h). */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/**
 * Returns the processor (`e_machine`) of an ELF file, or undefined if the file cannot be read or is not ELF.
 */
function machineOf(file: string): number | undefined {
  const header = Buffer.from(read(file), 'latin1');
  return header.length >= 20 && header.readUInt32BE(0) === 0x7f454c46 ? header.readUInt16LE(18) : undefined;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** Address space for koffi, the kernel's BTF, the rings and the heap, with a reserve. */
const NEEDED = 48 * MIB;
/** Address space that glibc reserves for each allocating thread, aligned to its size (`HEAP_MAX_SIZE`). */
const ARENA = 64 * MIB;
/**
 * V8's threads for compilation and garbage collection (--v8-pool-size), and their timer. Each gets an arena
 * at its first allocation, which can happen at any time.
 */
const THREADS = 5;

/**
 * Returns why a limited address space (`ulimit -v`) is too small: V8 and koffi would abort the process
 * without an exception. Undefined if it is large enough, or /proc is not mounted.
 */
function addressSpaceShortage(): string | undefined {
  const limit = numberIn('/proc/self/limits', /^Max address space +(\d+)/m);
  if (limit === undefined) return undefined;
  const used = numberIn('/proc/self/status', /^VmSize:\s*(\d+)/m);
  if (used === undefined) return undefined;
  const needed = used * KIB + NEEDED + ARENA * Math.max(0, THREADS - arenas());
  if (limit >= needed) return undefined;
  return (
    `too little address space: Node with this program needs ${Math.ceil(needed / KIB)} KiB, ` +
    `and the limit is ${Math.floor(limit / KIB)}; raise it (ulimit -v unlimited)`
  );
}

/** Counts the existing arenas: aligned, used at their start, and reserved up to their end. */
function arenas(): number {
  const ranges = read('/proc/self/maps').matchAll(
    /^([0-9a-f]+)-([0-9a-f]+) rw-p .*\n\2-([0-9a-f]+) ---p 00000000 00:00 0/gm,
  );
  return [...ranges].filter(([, start, , end]) => {
    const first = Number.parseInt(start as string, 16);
    return first % ARENA === 0 && Number.parseInt(end as string, 16) - first === ARENA;
  }).length;
}

function numberIn(file: string, pattern: RegExp): number | undefined {
  const found = pattern.exec(read(file))?.[1];
  return found === undefined ? undefined : Number(found);
}

/** More than any of these files has. */
const MOST_BYTES = 1 << 24;

function read(file: string): string {
  try {
    return Buffer.from(readAtMost(file, MOST_BYTES) ?? []).toString('latin1');
  } catch {
    return ''; // no /proc
  }
}
