/** The functions of the files that processes execute, read once for each file. */
import { ElfError } from '../../asm/elf/format.ts';
import { FunctionTable, type ReadAt } from '../../asm/elf/functions.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import type { FileStat } from '../syscalls.ts';
import { utf8 } from '../text.ts';
import type { ExecutableMapping } from './mappings.ts';
import { PerfMap } from './perf-map.ts';

/** The number of files whose functions are kept. */
const MOST_FILES = 256;
/** The largest perf map that is read, in bytes. */
const LARGEST_PERF_MAP = 64 << 20;
/** The largest vDSO, in bytes. */
const LARGEST_VDSO = 1n << 20n;

/** A file's content, as far as addresses need it. */
type Content = FunctionTable | PerfMap | undefined;

/** Files by device and inode, with the functions in them. A changed file is read again. */
export class FunctionFiles {
  readonly #kernel: Kernel;
  readonly #contents = new Map<string, Content>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The functions of a mapped file or of the vDSO; undefined if they cannot be read. */
  functionsOf(pid: number, mapping: ExecutableMapping): FunctionTable | undefined {
    const { start, end, path } = mapping;
    if (path === '[vdso]') {
      const size = end - start;
      if (size > LARGEST_VDSO) return undefined;
      return this.#kept(`vdso ${size}`, () =>
        this.#opened(`/proc/${pid}/mem`, (fd) =>
          tableOf((offset, length) => this.#read(fd, Number(start) + offset, Math.min(length, Number(size)))),
        ),
      ) as FunctionTable | undefined;
    }
    if (mapping.inode === 0n) return undefined;
    // The link leads to the mapped file itself, also if it was deleted or is in another mount namespace. It
    // needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
    const link = `/proc/${pid}/map_files/${start.toString(16)}-${end.toString(16)}`;
    const found = this.#file(link, () => true);
    if (found !== NO_FILE) return found as FunctionTable | undefined;
    const named = `/proc/${pid}/root${path.replaceAll('\\012', '\n')}`;
    const table = this.#file(named, ({ inode }) => inode === mapping.inode);
    return table === NO_FILE ? undefined : (table as FunctionTable | undefined);
  }

  #file(path: string, isIt: (stat: FileStat) => boolean): Content | typeof NO_FILE {
    return this.#opened<Content | typeof NO_FILE>(
      path,
      (fd, stat) =>
        isIt(stat)
          ? this.#kept(keyOf(stat), () => tableOf((at, length) => this.#read(fd, at, length)))
          : NO_FILE,
      NO_FILE,
    );
  }

  /** The functions that the runtime of a process has compiled, if it lists them. */
  compiledBy(pid: number): PerfMap | undefined {
    const { syscalls } = this.#kernel;
    const status = syscalls.readFile(`/proc/${pid}/status`);
    if (typeof status === 'number') return undefined;
    const lines = utf8(status);
    // The runtime names the file by the PID of its own namespace.
    const inside = /^NSpid:.*?(\d+)$/m.exec(lines)?.[1] ?? String(pid);
    const uid = Number(/^Uid:\s+\d+\s+(\d+)/m.exec(lines)?.[1] ?? Number.NaN);
    return this.#opened(`/proc/${pid}/root/tmp/perf-${inside}.map`, (fd, stat) => {
      // Anybody may write to /tmp: the file counts only if it is the process's own.
      if (stat.uid !== uid || stat.size > LARGEST_PERF_MAP) return undefined;
      return this.#kept(keyOf(stat), () => new PerfMap(utf8(this.#read(fd, 0, Number(stat.size))))) as
        | PerfMap
        | undefined;
    });
  }

  /** Runs `use` with a regular file, which it closes. */
  #opened<T>(path: string, use: (fd: number, stat: FileStat) => T, otherwise?: T): T {
    const { syscalls } = this.#kernel;
    const fd = syscalls.openFile(path);
    if (fd < 0) return otherwise as T;
    try {
      const stat = syscalls.stat(fd);
      return typeof stat === 'number' || !stat.isFile ? (otherwise as T) : use(fd, stat);
    } finally {
      syscalls.close(fd);
    }
  }

  #read(fd: number, position: number, length: number): Uint8Array {
    if (!Number.isSafeInteger(position + length)) return new Uint8Array();
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const result = this.#kernel.syscalls.readAt(fd, bytes.subarray(at), position + at);
      if (result === -Errno.EINTR) continue;
      if (result <= 0) return bytes.subarray(0, at);
      at += result;
    }
    return bytes;
  }

  /** The content under a key; of too many, the oldest is dropped. */
  #kept(key: string, make: () => Content): Content {
    if (this.#contents.has(key)) return this.#contents.get(key);
    const content = make();
    const [oldest] = this.#contents.keys();
    if (this.#contents.size >= MOST_FILES && oldest !== undefined) this.#contents.delete(oldest);
    this.#contents.set(key, content);
    return content;
  }
}

/** No such file, or another one. */
const NO_FILE = Symbol('no file');

function keyOf({ device, inode, size, modifiedNs }: FileStat): string {
  return `${device}:${inode}:${size}:${modifiedNs}`;
}

/** The functions of an ELF file; undefined for any other file. */
function tableOf(read: ReadAt): FunctionTable | undefined {
  try {
    return new FunctionTable(read);
  } catch (error) {
    if (error instanceof ElfError) return undefined;
    throw error;
  }
}
