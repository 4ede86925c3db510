/**
 * Builds eBPF programs with typed TypeScript, loads them into the Linux kernel and reads their events.
 *
 * A program is written with the builder (`kprobe`, `rawTracepoint`, `tpBtf`), describes its maps and events
 * by schemas, and runs in a `Session`. Single instructions are in `tsbpf/asm`, kernel types in `tsbpf/btf`.
 *
 * @module tsbpf
 */
// biome-ignore-all assist/source/organizeImports: in the order in which one meets them

// Programs, what they are attached to, and what they are assembled for.
export {
  type Body,
  fentry,
  fexit,
  kprobe,
  type Functions,
  kprobeMulti,
  kretprobe,
  kretprobeMulti,
  lsm,
  rawTracepoint,
  tpBtf,
  tracepoint,
} from './asm/hooks.ts';
export { NoSuchTracepointError } from './asm/no-such-tracepoint.ts';
export {
  type Attachment,
  LICENSE,
  type ProgramSpec,
  type TailCalled,
  type Tool,
  type ToolEvents,
} from './asm/program.ts';
export { subprogram } from './asm/subprogram.ts';
export {
  type Architecture,
  type ArchitectureName,
  architectures,
  UnknownArchitectureError,
} from './asm/architecture.ts';
export { listProgram, listTool } from './asm/listing.ts';
export { systemCallName, systemCallNumber } from './asm/system-calls.ts';
export { NoBtfError, type Target, target } from './asm/target.ts';

// The builder.
export type { Builder } from './asm/builder/builder.ts';
export type { Subprogram } from './asm/builder/subprograms.ts';
export type { Argument } from './asm/builder/call-arguments.ts';
export type { FieldPath, KernelPointer } from './asm/builder/kernel-pointer.ts';
export type { MapPointer } from './asm/builder/map-pointer.ts';
export type { BodyResult } from './asm/body.ts';
export type { Keepable } from './asm/builder/keep.ts';
export type { Elements, FieldsByName, Memory } from './asm/builder/memory.ts';
export type { ArgumentsOf, Input, ParametersOf } from './asm/builder/parameters.ts';
export type { NumberType } from './asm/builder/number-type.ts';
export type { Condition, Operand, Readable } from './asm/builder/operand.ts';
export type { Place, StructMemory } from './asm/builder/place.ts';
export type { Case } from './asm/builder/switch.ts';
export type { Value } from './asm/builder/value.ts';
export * from './asm/helpers.ts';
export type { ProgramKind } from './asm/program-types.ts';
export * from './asm/flags.ts';

// Data and maps.
export * from './asm/layout.ts';
export type { Static } from '@sinclair/typebox';
export {
  array,
  cgroupArray,
  constants,
  type Entries,
  type KeyOf,
  type ValueOf,
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
  programArray,
} from './asm/map.ts';
export {
  type EventOf,
  type EventsSpec,
  type EventTypes,
  type EventVariants,
  type PerfEventArraySpec,
  perfEventArray,
  type RingBufferSpec,
  ringBuffer,
  type Variant,
  type VariantsOf,
} from './asm/events.ts';
export { pinned } from './asm/pinned.ts';
export type {
  AbilityName,
  CommandName,
  Feature,
  InstructionSet,
  KernelAttachType,
  KernelMapType,
  KernelProgramType,
  MapFlag,
  ProgramFlag,
  ProgramTypeName,
} from './asm/kernel-features.ts';
export { arrayOfMaps, hashOfMaps, type MapOfMapsSpec } from './asm/map-of-maps.ts';
export { bloomFilter, type BloomFilterSpec, queue, type QueueSpec, stack } from './asm/queue.ts';
export { stackTrace, type StackTraceSpec } from './asm/stack-trace.ts';
export { cgrpStorage, inodeStorage, skStorage, type StorageSpec, taskStorage } from './asm/local-storage.ts';

// The running kernel.
export { Kernel } from './loader/kernel.ts';
export type { FeatureGroup, Features, Support } from './loader/features.ts';
export type { Lockdown } from './loader/kernel-facts.ts';
export type { KernelSymbol } from './loader/symbol-table.ts';
export { frameText, type ProcessSymbols, type StackFrame, Symbolizer } from './loader/symbolizer.ts';
export type { Descriptor } from './loader/bpf.ts';
export {
  DEFAULT_PAGES,
  type EventHandler,
  type EventHandlers,
  type SkippedProgram,
  type MissedRuns,
  Session,
  type SessionOptions,
} from './loader/session.ts';
export { BpfMap, type UpdateValue, type MapOptions, UpdateMode } from './loader/map.ts';
export type { Cell, CellArray, NumberCell, View } from './loader/map/view.ts';
export { type LoadOptions, loadProgram } from './loader/load.ts';
export { measureRuns, Program, type ProgramInfo } from './loader/program.ts';
export { type LoadedProgram, readLoadedProgram, type SourceLine } from './loader/loaded.ts';
export { programIds, type ProgramSelector } from './loader/loaded/find.ts';
export type { LoadedMap } from './loader/loaded/map-info.ts';
export {
  type LoadedBtf,
  type LoadedLink,
  loadedBtfs,
  loadedLinks,
  loadedMaps,
} from './loader/loaded/objects.ts';
export { unpin } from './loader/pin.ts';
export { ProgramArray } from './loader/program-array.ts';
export { attach, Link } from './loader/link.ts';
export type { AttachedFunction, MultiLink, SkippedFunction } from './loader/kprobe-multi.ts';
export { PerfBuffer } from './loader/perf-buffer.ts';
export type { CpuChange, PerfBufferOptions, Wakeup } from './loader/perf-buffer/options.ts';
export { RingBuffer, type RingBufferOptions } from './loader/ring-buffer.ts';
export type { RingSampleHandler } from './loader/ring-buffer/ring.ts';
export type { LostHandler, SampleHandler } from './loader/perf-buffer/perf-ring.ts';
export {
  type CapabilityName,
  type DroppedPrivileges,
  dropPrivileges,
  type KeptCapability,
} from './loader/privileges.ts';
export { openCgroup } from './loader/cgroup.ts';
export { duplicateDescriptor, openProcess } from './loader/process.ts';
export type { Closeable } from './loader/resources.ts';
export { networkNamespace } from './loader/namespace.ts';
export { unsupportedReason, supports } from './loader/probe.ts';
export { readTracepointFormat } from './loader/tracefs.ts';
export { CgroupPaths } from './loader/cgroup-paths.ts';
export { ProgramError, TsbpfError } from './asm/error.ts';
export {
  AmbiguousSymbolError,
  ClosedError,
  CorruptRingError,
  type Failure,
  KernelError,
  LockdownError,
  MapBatchError,
  MapIterationError,
  MapMismatchError,
  MismatchError,
  LinkMismatchError,
  ProgramMismatchError,
  type MissingFeature,
  MissingFeaturesError,
  NoSuchProgramError,
  NoSuchSymbolError,
  NotPermittedError,
  NoTracefsError,
  PathError,
  SymbolError,
  UnsupportedError,
  UnsupportedInstructionError,
  UntraceableSymbolError,
  VerifierError,
} from './loader/errors.ts';
export { NativeCodeError } from './loader/native-code.ts';
export { renderVerifierError } from './loader/verifier/report.ts';
export type { VerifierSummary } from './loader/verifier/log.ts';
export type { FileStat, Limit, Poll, Syscalls } from './loader/syscalls.ts';

// Errors of the assembler and of kernel types, so that one import has every error class.
export { AssembleError, ReachError } from './asm/assemble-error.ts';
export { AmbiguousStructError } from './asm/btf/ambiguous-struct.ts';
export { NoSuchFieldError } from './asm/btf/no-such-field.ts';
export { BtfError } from './asm/btf/types.ts';
export { TracepointFormatError } from './asm/tracepoint-format.ts';
