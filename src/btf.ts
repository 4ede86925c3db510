/**
 * Reads kernel types (BTF), function prototypes and tracepoint formats.
 *
 * `new Kernel().btf` of `tsbpf` has the types of the running kernel.
 *
 * @module tsbpf/btf
 */

export type { SizedValueType } from './asm/btf/prototype.ts';
export type { BtfEnumerator, BtfKind, BtfMember, BtfModifier, BtfType } from './asm/btf/types.ts';
export type { ValueKind, ValueType } from './asm/btf/value.ts';
// The kernel's types.
export {
  AmbiguousStructError,
  Btf,
  BtfError,
  type Member,
  NoSuchFieldError,
  type Parameter,
  type PointedStruct,
  type Prototype,
  type StructCandidate,
  type StructChoice,
  type StructRef,
} from './asm/btf.ts';

// The records of its tracepoints.
export {
  type FormatField,
  parseTracepointFormat,
  type TracepointFormat,
  TracepointFormatError,
} from './asm/tracepoint-format.ts';
