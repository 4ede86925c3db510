/**
 * Programs that are loaded, whoever loaded them: their instructions as the verifier left them, the names of their maps, and the source
 * lines of those that were loaded with any.
 *
 * Source: include/uapi/linux/bpf.h (`struct bpf_prog_info`, `bpf_map_info`, `bpf_btf_info`, `bpf_line_info`).
 */
import { Btf } from '../asm/btf.ts';
import { allocate, Command, Descriptor } from './bpf.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { fdById, openProgram, type ProgramSelector } from './loaded/find.ts';
import { objectInfo, objectNameAt } from './object-info.ts';

/** A source line, and the slot of the first instruction that it made. */
export interface SourceLine {
  readonly slot: number;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/** What the kernel tells of a program. */
export interface LoadedProgram {
  readonly id: number;
  /** At most 15 characters. */
  readonly name: string;
  /** As the verifier left them; no bytes where the kernel keeps them from this process. */
  readonly bytes: Uint8Array;
  /** Names of its maps by id. */
  readonly maps: ReadonlyMap<number, string>;
  /** Addresses of its functions where it is compiled; none where the kernel hides them. */
  readonly functions: readonly bigint[];
  /** The types it was loaded with. */
  readonly btf?: Btf;
  /** Where its functions begin, and their types in `btf`. */
  readonly functionInfo: readonly { readonly slot: number; readonly type: number }[];
  readonly lines: readonly SourceLine[];
}

/** Offsets into `struct bpf_prog_info`, which has grown from 40 bytes to these. */
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
 * Reads about a loaded program.
 * @throws {NoSuchProgramError} @throws {NotPermittedError} @throws {KernelError}
 */
export function readLoadedProgram(kernel: Kernel, wanted: ProgramSelector): LoadedProgram {
  const descriptor = openProgram(kernel, wanted);
  try {
    return read(kernel, descriptor.fd);
  } finally {
    descriptor.close();
  }
}

function read(kernel: Kernel, fd: number): LoadedProgram {
  // Asked once for the sizes, and once more with room for what has them.
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
    // Where the kernel hides them, the pointer comes back as 0.
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
 * Bytes that are read of a source line, and of its file's name (`PATH_MAX`): a program may have a million
 * long lines.
 */
const [LONGEST_LINE, LONGEST_PATH] = [4096, 4096];

/** `struct bpf_line_info`. Its strings are read on demand. */
function sourceLine(btf: Btf, record: DataView): SourceLine {
  const place = record.getUint32(12, true);
  return {
    slot: record.getUint32(0, true),
    get file() {
      return btf.string(record.getUint32(4, true), LONGEST_PATH);
    },
    get text() {
      return btf.string(record.getUint32(8, true), LONGEST_LINE).trimStart();
    },
    line: place >>> 10,
    column: place & 0x3ff,
  };
}

function records(bytes: Uint8Array, size: number): DataView[] {
  if (size === 0) return [];
  return Array.from(
    { length: Math.floor(bytes.length / size) },
    (_, index) => new DataView(bytes.buffer, index * size, size),
  );
}

/** The name of a map, empty where it has none or is gone. */
function mapName(kernel: Kernel, id: number): string {
  const fd = fdById(kernel, Command.mapGetFdById, id);
  if (fd < 0) return '';
  const descriptor = new Descriptor(kernel.syscalls, fd, `the map ${id}`);
  try {
    return objectNameAt(objectInfo(kernel, descriptor.fd, 40).bytes, 24);
  } finally {
    descriptor.close();
  }
}

function readBtf(kernel: Kernel, id: number): Btf | undefined {
  if (id === 0) return undefined;
  const fd = fdById(kernel, Command.btfGetFdById, id);
  if (fd < 0)
    throw new KernelError({
      syscall: 'bpf(BPF_BTF_GET_FD_BY_ID)',
      errno: -fd,
      tried: "open the program's types",
    });
  const descriptor = new Descriptor(kernel.syscalls, fd, `the BTF object ${id}`);
  try {
    const bytes = allocate(objectInfo(kernel, descriptor.fd, 16).view.getUint32(8, true));
    objectInfo(kernel, descriptor.fd, 16, (attr) => attr.pointer(0, bytes).u32(8, bytes.length));
    return Btf.parse(bytes);
  } finally {
    descriptor.close();
  }
}
