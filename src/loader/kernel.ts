/**
 * Facts about the running kernel, each read the first time it is asked for if nothing else is said. Nothing here assumes that tracefs or
 * bpffs is mounted.
 */
import type * as Os from 'node:os';
import { type Architecture, architectureOf } from '../asm/architecture.ts';
import { Btf } from '../asm/btf.ts';
import { KernelError } from './errors.ts';
import { nativeSyscalls } from './koffi.ts';
import { requireLate } from './require-late.ts';
import { type KernelSymbol, SymbolTable } from './symbol-table.ts';
import type { Syscalls } from './syscalls.ts';

/** Where the kernel shows its own types, and those of its modules. */
const BTF_FOLDER = '/sys/kernel/btf';

/** Capabilities by bit number (include/uapi/linux/capability.h). */
export const Capability = {
  dacOverride: 1,
  ipcLock: 14,
  sysAdmin: 21,
  sysResource: 24,
  perfmon: 38,
  bpf: 39,
} as const;

/** Inode numbers of the namespaces that a machine starts with (include/uapi/linux/nsfs.h). */
const INITIAL_NAMESPACES = { user: 0xefff_fffdn, pid: 0xefff_fffcn } as const;

/** Modes of kernel lockdown (man 7 kernel_lockdown). */
const LOCKDOWN = ['none', 'integrity', 'confidentiality'] as const;
export type Lockdown = (typeof LOCKDOWN)[number];

/** The kernel this process runs on, seen through one set of system calls. */
export class Kernel {
  /** The seam that everything opened through this object uses. */
  readonly syscalls: Syscalls;
  readonly #memo = new Map<string, unknown>();

  constructor(syscalls: Syscalls = nativeSyscalls()) {
    this.syscalls = syscalls;
  }

  /** As `uname -r`: `6.1.0-56-cloud-amd64`. For messages; what the kernel can do is asked by trying. */
  get release(): string {
    return this.#once('release', () => this.#name('/proc/sys/kernel/osrelease', 'release'));
  }

  /** The machine's name, as `uname -n`. */
  get host(): string {
    return this.#once('host', () => this.#name('/proc/sys/kernel/hostname', 'hostname'));
  }

  /** @throws {RangeError} on an architecture that programs can't be made for. */
  get architecture(): Architecture {
    return architectureOf(process.arch);
  }

  /** Bytes of a page of memory. */
  get pageSize(): number {
    return this.#once('pageSize', () => pageSizeOf(this.syscalls.readFile('/proc/self/auxv')));
  }

  /** Numbers of the CPUs that run, ascending. Read anew each time, since they come and go. */
  get onlineCpus(): readonly number[] {
    return parseCpuList(this.#text('/sys/devices/system/cpu/online'));
  }

  /** Numbers of the CPUs that may ever run, ascending: per-CPU maps hold a value for each. */
  get possibleCpus(): readonly number[] {
    return this.#once('possible', () => parseCpuList(this.#text('/sys/devices/system/cpu/possible')));
  }

  /** The kernel's types; undefined where it was built without (`CONFIG_DEBUG_INFO_BTF`). */
  get btf(): Btf | undefined {
    return this.#once('btf', () => {
      // Reading 5 MB by the page, as /sys does it, takes as long as all else about them. Mapping works since Linux 6.16.
      const file = `${BTF_FOLDER}/vmlinux`;
      const mapped = this.syscalls.mapFile(file);
      const bytes = typeof mapped === 'number' ? this.syscalls.readFile(file) : mapped;
      return typeof bytes === 'number' ? undefined : Btf.lazy(bytes);
    });
  }

  /**
   * The types of a module that is loaded, by its name as in /proc/modules, and with them the kernel's own; undefined where there is no
   * such module or it shows none (Linux 5.11). Read anew each time: modules come and go.
   */
  moduleBtf(module: string): Btf | undefined {
    if (!/^\w+$/.test(module) || module === 'vmlinux' || this.btf === undefined) return undefined;
    const bytes = this.syscalls.readFile(`${BTF_FOLDER}/${module}`);
    return typeof bytes === 'number' ? undefined : Btf.lazy(bytes, this.btf);
  }

  /** The type number of the perf PMU for kprobes (Linux 4.17); undefined where there is none. */
  get kprobePmu(): number | undefined {
    return this.#once('kprobe', () => {
      const bytes = this.syscalls.readFile('/sys/bus/event_source/devices/kprobe/type');
      return typeof bytes === 'number' ? undefined : Number(Buffer.from(bytes).toString('latin1'));
    });
  }

  /** `kernel.perf_event_paranoid`; undefined where it can't be read. */
  get perfParanoid(): number | undefined {
    return this.#once('paranoid', () => {
      const bytes = this.syscalls.readFile('/proc/sys/kernel/perf_event_paranoid');
      return typeof bytes === 'number' ? undefined : Number(Buffer.from(bytes).toString('latin1'));
    });
  }

  /**
   * What kernel lockdown keeps from every process, root's among them: nothing, ways to change the running kernel, or its memory too.
   * Undefined on a kernel without lockdown, and where securityfs isn't mounted (`/sys/kernel/security`).
   */
  get lockdown(): Lockdown | undefined {
    return this.#once('lockdown', () => {
      const bytes = this.syscalls.readFile('/sys/kernel/security/lockdown');
      if (typeof bytes === 'number') return undefined;
      const mode = /\[(\w+)\]/.exec(Buffer.from(bytes).toString('latin1'))?.[1];
      return LOCKDOWN.find((each) => each === mode);
    });
  }

  /** Whether this network namespace has IPv6; not where it was left out or turned off at boot (`ipv6.disable=1`). */
  get ipv6(): boolean {
    return typeof this.syscalls.readFile('/proc/net/if_inet6') !== 'number';
  }

  /** The effective capabilities of this process, a bit each; 0 where /proc isn't there. */
  get capabilities(): bigint {
    return this.#once('capabilities', () => {
      const bytes = this.syscalls.readFile('/proc/self/status');
      const text = typeof bytes === 'number' ? '' : Buffer.from(bytes).toString('latin1');
      return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(text)?.[1] ?? '0'}`);
    });
  }

  /** Whether this process is in a user or pid namespace of its own, as a container may be; false where /proc doesn't tell. */
  hasOwn(namespace: keyof typeof INITIAL_NAMESPACES): boolean {
    const inode = this.syscalls.inodeAt(`/proc/self/ns/${namespace}`);
    return inode >= 0n && inode !== INITIAL_NAMESPACES[namespace];
  }

  /** Whether this process has a capability, one of `Capability`. */
  has(capability: number): boolean {
    return ((this.capabilities >> BigInt(capability)) & 1n) === 1n;
  }

  /**
   * The symbol that an address of the kernel belongs to, such as a return address from `getStack`; undefined if there is
   * none, or if the kernel hides addresses from this process (`kernel.kptr_restrict`). The first call reads
   * /proc/kallsyms, which takes a few tenths of a second; functions of modules that are loaded later have no names.
   *
   * @example
   * import { Kernel } from 'tsbpf';
   *
   * const symbol = new Kernel().symbolAt(0xffff_ffff_8100_0000n);
   * if (symbol) console.log(`${symbol.name}+0x${symbol.offset.toString(16)}`);
   */
  symbolAt(address: bigint): KernelSymbol | undefined {
    const table = this.#once('symbols', () => {
      const bytes = this.syscalls.readFile('/proc/kallsyms');
      return new SymbolTable(typeof bytes === 'number' ? new Uint8Array() : bytes);
    });
    return table.at(address);
  }

  /** The content of a file; if /proc is not mounted, the same from `uname(2)`. */
  #name(path: string, field: 'release' | 'hostname'): string {
    const bytes = this.syscalls.readFile(path);
    if (typeof bytes !== 'number') return Buffer.from(bytes).toString('latin1').trim();
    const os = requireLate('node:os') as typeof Os; // a normal start does not load it
    return os[field]();
  }

  #text(path: string): string {
    const bytes = this.syscalls.readFile(path);
    if (typeof bytes === 'number')
      throw new KernelError({ syscall: 'open', errno: -bytes, tried: `read ${path}` });
    return Buffer.from(bytes).toString('latin1');
  }

  #once<T>(key: string, read: () => T): T {
    if (!this.#memo.has(key)) this.#memo.set(key, read());
    return this.#memo.get(key) as T;
  }
}

/**
 * CPU numbers of a list as /sys writes it: `0-3,8,10-11`.
 * @throws {RangeError} for a text that isn't one.
 */
export function parseCpuList(text: string): number[] {
  const cpus: number[] = [];
  for (const part of text.trim().split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) throw new RangeError(`'${text.trim()}' is no list of CPUs`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    for (let cpu = first; cpu <= last; cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** The page size out of the auxiliary vector (`AT_PAGESZ`, man 3 getauxval). */
function pageSizeOf(auxv: Uint8Array | number): number {
  const AT_PAGESZ = 6n;
  if (typeof auxv === 'number') return 4096;
  const words = new DataView(auxv.buffer, auxv.byteOffset, auxv.byteLength);
  for (let at = 0; at + 16 <= auxv.byteLength; at += 16)
    if (words.getBigUint64(at, true) === AT_PAGESZ) return Number(words.getBigUint64(at + 8, true));
  return 4096;
}
