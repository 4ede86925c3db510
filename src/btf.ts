/**
 * Reads kernel types (BTF), function prototypes and tracepoint formats.
 *
 * `new Kernel().btf` of `tsbpf` has the types of the running kernel.
 *
 * @module tsbpf/btf
 */

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
