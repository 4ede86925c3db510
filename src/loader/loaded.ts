/**
 * Programs loaded by any process: their instructions as the verifier rewrote them, the names of their maps,
 * and their source lines, if they were loaded with any.
 *
 * Source: include/uapi/linux/bpf.h (`struct bpf_prog_info`, `bpf_map_info`, `bpf_btf_info`, `bpf_line_info`).
 */
import { Btf } from '../asm/btf.ts';
import { allocate, Command, Descriptor } from './bpf.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { fdById, openProgram, type ProgramSelector } from './loaded/find.ts';
import { mapInfo } from './loaded/map-info.ts';
import { objectInfo, objectNameAt } from './object-info.ts';

/**
 * A source line of a loaded program.
 *
 * @example
 * ```ts no run
 * import { Kernel, readLoadedProgram, type SourceLine } from 'tsbpf';
 *
 * const lines: readonly SourceLine[] = readLoadedProgram(new Kernel(), { name: 'on_connect' }).lines;
 * for (const { slot, file, line, text } of lines) console.log(`${slot}: ${file}:${line}: ${text}`);
 * ```
 */
export interface SourceLine {
  /** The slot of the line's first instruction, 8 bytes a slot. */
  readonly slot: number;
  /** The path of the source file, at most 4096 bytes. */
  readonly file: string;
  /** The line number, from 1. */
  readonly line: number;
  /** The column number, from 1; 0 if unknown. */
  readonly column: number;
  /** The text of the line without its indentation, at most 4096 bytes. */
  readonly text: string;
}

/**
 * A program loaded by any process, as the kernel reports it. Holds no kernel resource.
 *
 * Source: `struct bpf_prog_info`, include/uapi/linux/bpf.h.
 * @example
 * ```ts no run
 * import { Kernel, type LoadedProgram, readLoadedProgram } from 'tsbpf';
 *
 * const program: LoadedProgram = readLoadedProgram(new Kernel(), { name: 'on_connect' });
 * console.log(program.id, [...program.maps.values()]);
 * ```
 */
export interface LoadedProgram {
  /** The program's id, as in `bpftool prog show`. */
  readonly id: number;
  /** The program's name, at most 15 characters. */
  readonly name: string;
  /** The instructions as the verifier rewrote them. Empty if the kernel hides them from this process. */
  readonly bytes: Uint8Array;
  /** The names of the program's maps by id. */
  readonly maps: ReadonlyMap<number, string>;
  /** The addresses of the compiled functions. Empty if the kernel hides them (`kernel.kptr_restrict`). */
  readonly functions: readonly bigint[];
  /** The BTF that the program was loaded with. */
  readonly btf?: Btf;
  /** The first slot of each function, and its type id in `btf`. */
  readonly functionInfo: readonly { readonly slot: number; readonly type: number }[];
  /** The source lines. Empty if the program was loaded without any. */
  readonly lines: readonly SourceLine[];
}

/** Offsets into `struct bpf_prog_info`, whose size grew from 40 bytes to `size`. */
const At = {
  id: 4,
  xlatedLength: 20,
  xlated: 32,
  mapCount: 52,
  maps: 56,
  name: 64,
  functionCount: 104,
  functions: 112,
  btfId: 128,
  functionInfoSize: 132,
  functionInfo: 136,
  functionInfoCount: 144,
  lineCount: 148,
  lines: 152,
  lineSize: 172,
  size: 176,
} as const;

/**
 * Reads the instructions, maps and source lines of a loaded program, whichever process loaded it.
 *
 * Minimum kernel: 4.13; function addresses 4.18, source lines 5.0. Source: man 2 bpf.
 * @throws {NoSuchProgramError} if no program matches, or several have the name. @throws {NotPermittedError}
 * @throws {KernelError}
 * @example
 * ```ts no run
 * import { Kernel, readLoadedProgram } from 'tsbpf';
 *
 * const program = readLoadedProgram(new Kernel(), { id: 42 });
 * console.log(`${program.name}: ${program.bytes.length / 8} slots`);
 * ```
 */
export function readLoadedProgram(kernel: Kernel, selector: ProgramSelector): LoadedProgram {
  const descriptor = openProgram(kernel, selector);
  try {
    return read(kernel, descriptor.fd);
  } finally {
    descriptor.close();
  }
}

function read(kernel: Kernel, fd: number): LoadedProgram {
  // The first call reads the sizes, the second one fills buffers of these sizes.
  const { view: sizes } = objectInfo(kernel, fd, At.size);
  const count = (at: number): number => sizes.getUint32(at, true);
  const [functionInfoSize, lineSize] = [count(At.functionInfoSize), count(At.lineSize)];
  const xlated = allocate(count(At.xlatedLength));
  const maps = allocate(4 * count(At.mapCount));
  const functions = allocate(8 * count(At.functionCount));
  const functionInfo = allocate(functionInfoSize * count(At.functionInfoCount));
  const lines = allocate(lineSize * count(At.lineCount));
  const { bytes, view } = objectInfo(kernel, fd, At.size, (attr) => {
    attr.u32(At.xlatedLength, xlated.length).pointer(At.xlated, xlated);
    attr.u32(At.mapCount, maps.length / 4).pointer(At.maps, maps);
    attr.u32(At.functionCount, functions.length / 8).pointer(At.functions, functions);
    attr
      .u32(At.functionInfoSize, functionInfoSize)
      .pointer(At.functionInfo, functionInfo)
      .u32(At.functionInfoCount, count(At.functionInfoCount));
    attr.u32(At.lineSize, lineSize).pointer(At.lines, lines).u32(At.lineCount, count(At.lineCount));
  });
  const btf = readBtf(kernel, view.getUint32(At.btfId, true));
  return {
    id: view.getUint32(At.id, true),
    name: objectNameAt(bytes, At.name),
    // If the kernel hides the instructions, it clears the pointer.
    bytes: view.getBigUint64(At.xlated, true) === 0n ? new Uint8Array() : xlated,
    maps: new Map([...new Uint32Array(maps.buffer)].map((id) => [id, mapName(kernel, id)])),
    functions: [...new BigUint64Array(functions.buffer)].filter((address) => address !== 0n),
    btf,
    functionInfo: records(functionInfo, functionInfoSize).map((record) => ({
      slot: record.getUint32(0, true),
      type: record.getUint32(4, true),
    })),
    lines: btf === undefined ? [] : records(lines, lineSize).map((record) => sourceLine(btf, record)),
  };
}

/**
 * Limits of a source line and its file's path, in bytes (`PATH_MAX`): a program can have a million long
 * lines.
 */
const [LONGEST_LINE, LONGEST_PATH] = [4096, 4096];

/** Decodes `struct bpf_line_info`. Reads its strings on demand. */
function sourceLine(btf: Btf, record: DataView): SourceLine {
  const lineAndColumn = record.getUint32(12, true);
  return {
    slot: record.getUint32(0, true),
    get file() {
      return btf.string(record.getUint32(4, true), LONGEST_PATH);
    },
    get text() {
      return btf.string(record.getUint32(8, true), LONGEST_LINE).trimStart();
    },
    line: lineAndColumn >>> 10,
    column: lineAndColumn & 0x3ff,
  };
}

function records(bytes: Uint8Array, size: number): DataView[] {
  if (size === 0) return [];
  return Array.from(
    { length: Math.floor(bytes.length / size) },
    (_, index) => new DataView(bytes.buffer, index * size, size),
  );
}

/** Reads the name of a map. Empty if the map has no name, or no longer exists. */
function mapName(kernel: Kernel, id: number): string {
  const fd = fdById(kernel, Command.mapGetFdById, id);
  if (fd < 0) return '';
  const descriptor = new Descriptor(kernel.syscalls, fd, `the map ${id}`);
  try {
    return mapInfo(kernel, descriptor.fd, `the map ${id}`).name;
  } finally {
    descriptor.close();
  }
}

function readBtf(kernel: Kernel, id: number): Btf | undefined {
  return id === 0 ? undefined : Btf.parse(readBtfBytes(kernel, id));
}

/** Reads a BTF object by its id. @throws {KernelError} */
export function readBtfBytes(kernel: Kernel, id: number): Uint8Array {
  const fd = fdById(kernel, Command.btfGetFdById, id);
  if (fd < 0)
    throw new KernelError({
      syscall: 'bpf(BPF_BTF_GET_FD_BY_ID)',
      errno: -fd,
      tried: `open the BTF object ${id}`,
    });
  const descriptor = new Descriptor(kernel.syscalls, fd, `the BTF object ${id}`);
  try {
    const bytes = allocate(objectInfo(kernel, descriptor.fd, 16).view.getUint32(8, true));
    objectInfo(kernel, descriptor.fd, 16, (attr) => attr.pointer(0, bytes).u32(8, bytes.length));
    return bytes;
  } finally {
    descriptor.close();
  }
}
