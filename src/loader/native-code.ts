/** Why the native code that makes the system calls cannot be loaded, and what to do. */

import { readFileSync } from 'node:fs';
import { TsbpfError } from '../asm/error.ts';

/** koffi cannot be loaded: it is not installed for this machine, or Node or a limit forbids it. */
export class NativeCodeError extends TsbpfError {
  override readonly name = 'NativeCodeError';
  override readonly code = 'ERR_NATIVE_CODE';
}

/**
 * Runs `load`. @throws {NativeCodeError} if that fails, or would end the process for lack of address space.
 */
export function loadNativeCode<T>(load: () => T): T {
  const lack = lackOfAddressSpace();
  if (lack !== undefined) throw new NativeCodeError(lack);
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

/** What is wrong, and what to do. */
function explain(code: string | undefined, reason: string): string {
  if (code === 'ERR_DLOPEN_DISABLED')
    return "this Node must not load native code; remove --no-addons or --permission on Node's command line or in NODE_OPTIONS";
  if (reason.startsWith("Cannot find module 'koffi'")) return `it is missing; ${INSTALL}`;
  if (reason.startsWith('Cannot find the native Koffi module'))
    return `its binary for ${process.platform}-${process.arch} is missing; ${INSTALL}, without --omit=optional`;
  if (code === 'ERR_DLOPEN_FAILED') {
    const [, file = ''] = /^(\/.*?\.node): /.exec(reason) ?? [];
    const machine = machineOf(file);
    if (machine !== undefined && machine !== MACHINES[process.arch])
      return `${file} is built for another processor; ${INSTALL}`;
    // glibc names neither EPERM nor ENOMEM.
    if (reason.includes('failed to map segment'))
      return `${reason}; its file system is mounted noexec, or memory is short; move the installation, or raise ulimit -v`;
  }
  return `${reason}; ${INSTALL}`;
}

/** Processors by their numbers in ELF files (`e_machine`, include/uapi/linux/elf-em.h). */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/** The processor that an ELF file is for; undefined if the file cannot be read, or is none. */
function machineOf(file: string): number | undefined {
  const header = Buffer.from(read(file), 'latin1');
  return header.length >= 20 && header.readUInt32BE(0) === 0x7f454c46 ? header.readUInt16LE(18) : undefined;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** What koffi, the kernel's types, the rings and the heap take beyond that, with some room. */
const NEEDED = 48 * MIB;
/** What glibc reserves for each thread that allocates, aligned to its size (`HEAP_MAX_SIZE`). */
const ARENA = 64 * MIB;
/**
 * Threads on which V8 compiles and collects garbage (--v8-pool-size), and their timer. Each gets its arena
 * when it first allocates, at any time.
 */
const THREADS = 5;

/**
 * Why the address space does not suffice, if it is limited (`ulimit -v`): V8 and koffi would abort the
 * process without an exception. Undefined if there is enough, or if /proc is not mounted.
 */
function lackOfAddressSpace(): string | undefined {
  const limit = numberIn('/proc/self/limits', /^Max address space +(\d+)/m);
  if (limit === undefined) return undefined;
  const used = numberIn('/proc/self/status', /^VmSize:\s*(\d+)/m);
  if (used === undefined) return undefined;
  const needed = used * KIB + NEEDED + ARENA * Math.max(0, THREADS - arenas());
  if (limit >= needed) return undefined;
  return (
    `too little address space: the limit is ${Math.floor(limit / KIB)} KiB (ulimit -v), and Node with this program takes ` +
    `${Math.ceil(needed / KIB)}; raise it (ulimit -v unlimited)`
  );
}

/** Arenas that exist: aligned, used at the beginning, and reserved up to their end. */
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

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // no /proc
  }
}
