/**
 * tsbpf: an eBPF assembler and loader.
 *
 * A program is written with the builder (`kprobe`, `rawTracepoint`, `tpBtf`) or as a list of instructions, refers to
 * maps and events whose shapes are schemas, and runs in a `Session`.
 */
// biome-ignore-all assist/source/organizeImports: in the order in which one meets them

// Programs, what they are attached to, and what they are assembled for.
export {
  type Body,
  NoSuchTracepoint,
  fentry,
  fexit,
  kprobe,
  kretprobe,
  rawTracepoint,
  tpBtf,
  tracepoint,
} from './asm/hooks.ts';
export { type Attachment, LICENSE, type ProgramSpec, type TailCalled, type Tool } from './asm/program.ts';
export { subprogram } from './asm/subprogram.ts';
export { type Architecture, architectures } from './asm/architecture.ts';
export { NoKernelTypes, type Target, target } from './asm/target.ts';

// The builder.
export type { Builder, Routine } from './asm/builder/builder.ts';
export type { Argument } from './asm/builder/call.ts';
export type { FieldPath, KernelPointer } from './asm/builder/kernel-pointer.ts';
export type { MapPointer } from './asm/builder/map-pointer.ts';
export type { Block, Memory } from './asm/builder/memory.ts';
export type { ArgumentsOf, ParametersOf } from './asm/builder/parameters.ts';
export type { NumberType } from './asm/builder/number-type.ts';
export type { Condition, Operand } from './asm/builder/operand.ts';
export type { Place } from './asm/builder/place.ts';
export type { Case } from './asm/builder/switch.ts';
export type { Value } from './asm/builder/value.ts';
export * from './asm/helpers.ts';

// Data and maps.
export * from './asm/layout.ts';
export {
  arrayMap,
  cgroupArray,
  constants,
  type EventsSpec,
  type GlobalsSpec,
  globals,
  hash,
  lpmTrie,
  lruHash,
  lruPerCpuHash,
  type MapSpec,
  MapType,
  type PerCpuSpec,
  perCpuArray,
  perCpuHash,
  type ProgramArraySpec,
  perfEventArray,
  programArray,
} from './asm/map.ts';
export { type JumpTableSpec, jumpTable, jumpThrough } from './asm/jump-table.ts';
export { arrayOfMaps, hashOfMaps, type MapOfMapsSpec } from './asm/map-of-maps.ts';

// Instructions.
export * from './asm/registers.ts';
export * from './asm/constructors.ts';
export {
  type Instruction,
  type Item,
  isLabel,
  type Label,
  type Reference,
  type Register,
  type Subprogram,
} from './asm/instruction.ts';
export {
  type Assembled,
  AssembleError,
  assemble,
  type MapReference,
  type Placed,
  ReachError,
} from './asm/assemble.ts';
export { encode as encodeInstruction } from './asm/encode.ts';
export { DecodeError, decode } from './asm/decode.ts';
export { disassemble, instructionText } from './asm/disassemble.ts';
export { type Parsed, parseProgram, TextError } from './asm/text/parse.ts';
export { ElfError, type ObjectInstruction, type ProgramSection, programSections } from './asm/elf.ts';
export { type LineTable, type Locate, type Location, locate, type Position } from './asm/position.ts';

// The kernel's types.
export {
  AmbiguousStruct,
  Btf,
  BtfError,
  type Member,
  NoSuchField,
  type Parameter,
  type PointedStruct,
  type Prototype,
  type StructCandidate,
  type StructChoice,
  type StructRef,
} from './asm/btf.ts';

// The records of its tracepoints.
export {
  FormatError,
  type FormatField,
  parseTracepointFormat,
  type TracepointFormat,
} from './asm/tracepoint-format.ts';

// The running kernel.
export { Kernel } from './loader/kernel.ts';
export {
  DEFAULT_PAGES,
  type SkippedProgram,
  type MissedRuns,
  Session,
  type SessionOptions,
} from './loader/session.ts';
export { BpfMap, type UpdateValue, type MapOptions, UpdateMode } from './loader/map.ts';
export type { Cell, CellArray, NumberCell, View } from './loader/map/view.ts';
export { type LoadOptions, loadProgram } from './loader/load.ts';
export { measureRuns, type Program } from './loader/program.ts';
export { type LoadedProgram, readLoadedProgram, type SourceLine } from './loader/loaded.ts';
export { NoSuchProgram, programIds, type ProgramSelector } from './loader/loaded/find.ts';
export { ProgramArray } from './loader/program-array.ts';
export { attach, type Link } from './loader/link.ts';
export { PerfBuffer } from './loader/perf-buffer.ts';
export type { CpuChange, Wakeup } from './loader/perf-buffer/options.ts';
export { openCgroup } from './loader/cgroup.ts';
export { networkNamespace } from './loader/namespace.ts';
export { unsupportedReason, supports } from './loader/probe.ts';
export { readTracepointFormat } from './loader/tracefs.ts';
export { CgroupPaths } from './loader/cgroup-paths.ts';
export * from './loader/errors.ts';
export { NativeCodeError } from './loader/native-code.ts';
export { renderVerifierError } from './loader/verifier/report.ts';
export type { Syscalls } from './loader/syscalls.ts';
