/**
 * BTF that the loader loads with maps and programs, for the names of fields and the source lines of programs.
 * Debug information only: a kernel that refuses it gets the map or program without.
 *
 * Source: man 2 bpf; `union bpf_attr` of include/uapi/linux/bpf.h.
 */
import type { Assembled } from '../asm/assemble.ts';
import {
  FUNCTION_RECORD,
  LINE_RECORD,
  type ProgramDebugInfo,
  programDebugInfo,
} from '../asm/btf/debug-info.ts';
import { mapBtf } from '../asm/btf/map-types.ts';
import type { MapSpec } from '../asm/map.ts';
import type { Locate } from '../asm/position.ts';
import { Attr, allocateCopy, Command, Descriptor } from './bpf.ts';
import type { KernelFacts } from './kernel-facts.ts';

/** The size of BPF_BTF_LOAD's attribute up to log_level, which is zero. */
const BTF_LOAD_SIZE = 28;

/** Offsets into the attribute of BPF_MAP_CREATE. */
const MapAt = { btf: 48, keyType: 52, valueType: 56, end: 60 } as const;

/** Offsets into the attribute of BPF_PROG_LOAD. */
const ProgramAt = {
  btf: 72,
  functionRecord: 76,
  functions: 80,
  functionCount: 88,
  lineRecord: 92,
  lines: 96,
  lineCount: 104,
  end: 108,
} as const;

/** The BTF fields of an attribute. */
export interface BtfFields {
  /** The size of the attribute up to the last of these fields. */
  readonly size: number;
  readonly fill: (attr: Attr) => void;
}

/**
 * Runs `create` with the BTF of a map's key and value. Returns undefined if they have no BTF, or this kernel
 * refuses it (before Linux 4.18).
 */
export function withMapBtf<T>(
  kernel: KernelFacts,
  spec: MapSpec,
  create: (fields: BtfFields) => T,
): T | undefined {
  const types = mapBtf(spec);
  if (types === undefined) return undefined;
  return withTypes(kernel, types.bytes, (btf) =>
    create({
      size: MapAt.end,
      fill: (attr) =>
        attr.u32(MapAt.btf, btf).u32(MapAt.keyType, types.key).u32(MapAt.valueType, types.value),
    }),
  );
}

/**
 * Runs `load` with the function names and source lines of a program. Returns undefined if this kernel refuses
 * the BTF (before Linux 5.0).
 */
export function withProgramBtf<T>(
  kernel: KernelFacts,
  name: string,
  assembled: Assembled,
  find: Locate,
  load: (fields: BtfFields) => T,
): T | undefined {
  const types = programDebugInfo(name, assembled, find);
  return withTypes(kernel, types.bytes, (btf) =>
    load({ size: ProgramAt.end, fill: (attr) => fillProgram(attr, btf, types) }),
  );
}

function fillProgram(attr: Attr, btf: number, { functions, lines }: ProgramDebugInfo): void {
  attr
    .u32(ProgramAt.btf, btf)
    .u32(ProgramAt.functionRecord, FUNCTION_RECORD)
    .pointer(ProgramAt.functions, allocateCopy(functions))
    .u32(ProgramAt.functionCount, functions.length / FUNCTION_RECORD);
  if (lines.length === 0) return;
  attr
    .u32(ProgramAt.lineRecord, LINE_RECORD)
    .pointer(ProgramAt.lines, allocateCopy(lines))
    .u32(ProgramAt.lineCount, lines.length / LINE_RECORD);
}

/** Loads BTF and closes it after `use`. A map or program created with it keeps it in the kernel. */
function withTypes<T>(kernel: KernelFacts, types: Uint8Array, use: (btf: number) => T): T | undefined {
  const bytes = allocateCopy(types);
  const attr = new Attr(kernel.syscalls, BTF_LOAD_SIZE).pointer(0, bytes).u32(16, bytes.length);
  const result = attr.send(Command.btfLoad);
  if (result < 0) return undefined;
  const descriptor = new Descriptor(kernel.syscalls, result, 'the BTF of a map or program');
  try {
    return use(descriptor.fd);
  } finally {
    descriptor.close();
  }
}
