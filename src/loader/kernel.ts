/**
 * Facts about the running kernel. Most are read at the first access. Nothing here assumes that tracefs or
 * bpffs is mounted.
 */
import type * as Os from 'node:os';
import { type Architecture, architectureOf } from '../asm/architecture.ts';
import { Btf } from '../asm/btf.ts';
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import { Features } from './features.ts';
import { INITIAL_NAMESPACES, type KernelFacts, LOCKDOWN, type Lockdown } from './kernel-facts.ts';
import { nativeSyscalls } from './koffi.ts';
import { requireLate } from './require-late.ts';
import { type KernelSymbol, readKallsyms, SymbolTable } from './symbol-table.ts';
import type { Syscalls } from './syscalls.ts';
import { readText } from './text.ts';

/** The directory of the kernel's BTF and that of its modules. */
const BTF_FOLDER = '/sys/kernel/btf';

/**
 * The kernel that this process runs on: its BTF, CPUs and permissions. Everything that is opened on the
 * kernel takes this object.
 *
 * It owns no kernel resource and needs no closing. One object for the process is enough; it caches what it
 * reads.
 * @example
 * ```ts
 * import { Kernel, target } from 'tsbpf';
 *
 * const kernel = new Kernel();
 * console.log(kernel.release, kernel.onlineCpus.length, kernel.btf !== undefined);
 * const on = target(process.arch, kernel.btf);
 * console.log(on.kernel !== undefined);
 * ```
 */
export class Kernel implements KernelFacts {
  /** The system calls that everything opened on this kernel uses. */
  readonly syscalls: Syscalls;
  readonly #memo = new Map<string, unknown>();

  /**
   * `syscalls` is for tests with a fake kernel. Default: the system calls of this process, through koffi.
   * @throws {NativeCodeError} if koffi cannot be loaded.
   */
  constructor(syscalls: Syscalls = nativeSyscalls()) {
    this.syscalls = syscalls;
  }

  /**
   * The release, as `uname -r` prints it: `6.1.0-56-cloud-amd64`. For messages; use `supports` to test for
   * features.
   */
  get release(): string {
    return this.#once('release', () => this.#name('/proc/sys/kernel/osrelease', 'release'));
  }

  /** The host name, as `uname -n` prints it. */
  get host(): string {
    return this.#once('host', () => this.#name('/proc/sys/kernel/hostname', 'hostname'));
  }

  /**
   * The architecture of this process. @throws {UnknownArchitectureError} for any other than x64 and arm64.
   */
  get architecture(): Architecture {
    return architectureOf(process.arch);
  }

  /** The size of a memory page in bytes. */
  get pageSize(): number {
    return this.#once('pageSize', () => pageSizeOf(this.syscalls.readFile('/proc/self/auxv')));
  }

  /**
   * The numbers of the online CPUs, ascending. Read at each access. @throws {KernelError} if /sys is not
   * mounted.
   */
  get onlineCpus(): readonly number[] {
    return parseCpuList(this.#text('/sys/devices/system/cpu/online'));
  }

  /**
   * The numbers of the CPUs that can ever be online, ascending. A per-CPU map has a value for each of them.
   * @throws {KernelError} if /sys is not mounted.
   */
  get possibleCpus(): readonly number[] {
    return this.#once('possible', () => parseCpuList(this.#text('/sys/devices/system/cpu/possible')));
  }

  /**
   * The kernel's BTF, for `target`. Undefined if the kernel was built without it (`CONFIG_DEBUG_INFO_BTF`,
   * Linux 5.4) or /sys is not mounted. @throws {BtfError} if it cannot be parsed.
   */
  get btf(): Btf | undefined {
    return this.#once('btf', () => {
      // Reading 5 MB page by page from /sys takes as long as parsing them. Since Linux 6.16 the file can be
      // mapped.
      const file = `${BTF_FOLDER}/vmlinux`;
      const mapped = this.syscalls.mapFile(file);
      const bytes = typeof mapped === 'number' ? this.syscalls.readFile(file) : mapped;
      return typeof bytes === 'number' ? undefined : Btf.lazy(bytes);
    });
  }

  /**
   * Reads the BTF of a loaded kernel module, which extends the kernel's own. Undefined if the module is not
   * loaded, or has no BTF. Read at each call, because modules can be unloaded. Minimum kernel: 5.11.
   * @param module the name as in /proc/modules: `nf_conntrack`.
   */
  moduleBtf(module: string): Btf | undefined {
    if (!/^\w+$/.test(module) || module === 'vmlinux' || this.btf === undefined) return undefined;
    const bytes = this.syscalls.readFile(`${BTF_FOLDER}/${module}`);
    return typeof bytes === 'number' ? undefined : Btf.lazy(bytes, this.btf);
  }

  /**
   * The build ID in hex digits, which the linker computes from the contents of the kernel, its types
   * included. Undefined if the kernel has none or /sys is not mounted. Source: /sys/kernel/notes, an ELF note
   * of type NT_GNU_BUILD_ID (man 5 elf).
   */
  get buildId(): string | undefined {
    return this.#once('buildId', () => {
      const notes = this.syscalls.readFile('/sys/kernel/notes');
      return typeof notes === 'number' ? undefined : buildIdIn(notes);
    });
  }

  /** The type number of the perf PMU for kprobes (Linux 4.17). Undefined if there is none. */
  get kprobePmu(): number | undefined {
    return this.#once('kprobe', () => {
      const text = readText(this.syscalls, '/sys/bus/event_source/devices/kprobe/type');
      return typeof text === 'number' ? undefined : Number(text);
    });
  }

  /** The setting `kernel.perf_event_paranoid`. Undefined if it cannot be read. */
  get perfParanoid(): number | undefined {
    return this.#once('paranoid', () => {
      const text = readText(this.syscalls, '/proc/sys/kernel/perf_event_paranoid');
      return typeof text === 'number' ? undefined : Number(text);
    });
  }

  /**
   * The mode of kernel lockdown, which restricts every process, including root's. Undefined if the kernel has
   * no lockdown, or securityfs is not mounted (`/sys/kernel/security`).
   */
  get lockdown(): Lockdown | undefined {
    return this.#once('lockdown', () => {
      const text = readText(this.syscalls, '/sys/kernel/security/lockdown');
      if (typeof text === 'number') return undefined;
      const mode = /\[(\w+)\]/.exec(text)?.[1];
      return LOCKDOWN.find((each) => each === mode);
    });
  }

  /**
   * Whether this network namespace has IPv6. False if the kernel has none, or it is disabled at boot
   * (`ipv6.disable=1`).
   */
  get ipv6(): boolean {
    return typeof this.syscalls.readFile('/proc/net/if_inet6') !== 'number';
  }

  /**
   * The effective capabilities of this process (its main thread) as bits. Read at each access, because
   * `dropPrivileges` changes them. 0 if /proc is not mounted.
   */
  get capabilities(): bigint {
    const status = readText(this.syscalls, '/proc/self/status');
    const found = typeof status === 'number' ? null : /^CapEff:\s*([0-9a-f]+)/m.exec(status);
    return BigInt(`0x${found?.[1] ?? '0'}`);
  }

  /**
   * Whether this process is outside the initial user, pid or time namespace, as in a container. False if
   * /proc is not mounted.
   */
  hasOwn(namespace: keyof typeof INITIAL_NAMESPACES): boolean {
    const inode = this.syscalls.inodeAt(`/proc/self/ns/${namespace}`);
    return inode >= 0n && inode !== INITIAL_NAMESPACES[namespace];
  }

  /** Whether this process has a capability, by its bit number. */
  has(capability: number): boolean {
    return ((this.capabilities >> BigInt(capability)) & 1n) === 1n;
  }

  /**
   * Returns the symbol of a kernel address, such as a return address from `getStack`. Undefined if there is
   * none, or if the kernel hides addresses from this process (`kernel.kptr_restrict`).
   *
   * The first call reads and sorts all of /proc/kallsyms. Functions of modules that are loaded later have no
   * names. Source: man 5 proc_kallsyms.
   *
   * @example
   * ```ts
   * import { Kernel } from 'tsbpf';
   *
   * const symbol = new Kernel().symbolAt(0xffff_ffff_8100_0000n);
   * if (symbol) console.log(`${symbol.name}+0x${symbol.offset.toString(16)}`);
   * ```
   */
  symbolAt(address: bigint): KernelSymbol | undefined {
    return this.#once('symbols', () => new SymbolTable(readKallsyms(this.syscalls))).at(address);
  }

  /**
   * What this kernel supports: program types, map types, helpers, instructions and others. Each is tried when
   * it is first asked for.
   *
   * @example
   * ```ts
   * import { Kernel } from 'tsbpf';
   *
   * const { answer, since } = new Kernel().features.support({ mapType: 'ringbuf' });
   * console.log(`ring buffers (Linux ${since}): ${answer}`);
   * ```
   */
  get features(): Features {
    return this.#once('features', () => new Features(this));
  }

  /** Reads a name from /proc, or with `uname(2)` if /proc is not mounted. */
  #name(path: string, field: 'release' | 'hostname'): string {
    const text = readText(this.syscalls, path);
    if (typeof text !== 'number') return text.trim();
    const os = requireLate('node:os') as typeof Os; // a normal start does not load it
    return os[field]();
  }

  #text(path: string): string {
    const text = readText(this.syscalls, path);
    if (typeof text !== 'number') return text;
    const hint = text === -Errno.ENOENT ? 'mount sysfs: mount -t sysfs sysfs /sys' : undefined;
    throw new KernelError({ syscall: 'open', errno: -text, tried: `read ${path}`, hint });
  }

  #once<T>(key: string, read: () => T): T {
    if (!this.#memo.has(key)) this.#memo.set(key, read());
    return this.#memo.get(key) as T;
  }
}

/** Parses a list of CPU numbers from /sys: `0-3,8,10-11`. @throws {RangeError} for any other text. */
export function parseCpuList(text: string): number[] {
  const cpus: number[] = [];
  for (const part of text.trim().split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) throw new RangeError(`'${text.trim()}' is not a list of CPUs such as 0-3,8`);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    for (let cpu = first; cpu <= last; cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** The build ID among ELF notes: each has a header of three words, a name and contents, padded to words. */
function buildIdIn(notes: Uint8Array): string | undefined {
  const NT_GNU_BUILD_ID = 3;
  const HEADER = 12;
  const bytes = Buffer.from(notes.buffer, notes.byteOffset, notes.byteLength);
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const [nameBytes, contentBytes] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    const name = at + HEADER;
    const content = name + 4 * Math.ceil(nameBytes / 4);
    const end = content + contentBytes;
    if (end > bytes.length) return undefined;
    if (
      bytes.readUInt32LE(at + 8) === NT_GNU_BUILD_ID &&
      bytes.toString('latin1', name, name + 4) === 'GNU\0'
    )
      return bytes.toString('hex', content, end);
    at = content + 4 * Math.ceil(contentBytes / 4);
  }
  return undefined;
}

/** Reads the page size from the auxiliary vector (`AT_PAGESZ`, man 3 getauxval). */
function pageSizeOf(auxv: Uint8Array | number): number {
  const AT_PAGESZ = 6n;
  if (typeof auxv === 'number') return 4096;
  const words = new DataView(auxv.buffer, auxv.byteOffset, auxv.byteLength);
  for (let at = 0; at + 16 <= auxv.byteLength; at += 16)
    if (words.getBigUint64(at, true) === AT_PAGESZ) return Number(words.getBigUint64(at + 8, true));
  return 4096;
}
