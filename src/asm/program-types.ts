/**
 * The program types, a row each: how the kernel numbers and attaches them, and what they may return.
 *
 * Sources: include/uapi/linux/bpf.h (`enum bpf_prog_type`, `enum bpf_attach_type`); kernel/bpf/verifier.c (`check_return_code`).
 */

/** A kind of program, by the name of its hook. */
export type ProgramKind =
  | 'kprobe'
  | 'kretprobe'
  | 'fentry'
  | 'fexit'
  | 'raw_tracepoint'
  | 'tp_btf'
  | 'tracepoint';

/** How the kernel sees programs of one kind. */
export interface ProgramType {
  /** `enum bpf_prog_type`. */
  readonly number: number;
  /** `enum bpf_attach_type`, for types that have several. */
  readonly expectedAttachType?: number;
  /** How the loader attaches it: to a perf event, or by BPF_RAW_TRACEPOINT_OPEN. */
  readonly attach: 'perf_event' | 'raw_tracepoint_open';
  /** What it returns by default. */
  readonly result: number;
  /** The only value that the verifier lets it return. Absent if any will do. */
  readonly mustReturn?: number;
}

export const PROGRAM_TYPES: Readonly<Record<ProgramKind, ProgramType>> = {
  kprobe: { number: 2, attach: 'perf_event', result: 0 },
  kretprobe: { number: 2, attach: 'perf_event', result: 0 },
  raw_tracepoint: { number: 17, attach: 'raw_tracepoint_open', result: 0 },
  tp_btf: { number: 26, expectedAttachType: 23, attach: 'raw_tracepoint_open', result: 0 },
  fentry: { number: 26, expectedAttachType: 24, attach: 'raw_tracepoint_open', result: 0, mustReturn: 0 },
  fexit: { number: 26, expectedAttachType: 25, attach: 'raw_tracepoint_open', result: 0, mustReturn: 0 },
  // 0 would keep the record from other readers, as from perf.
  tracepoint: { number: 5, attach: 'perf_event', result: 1 },
};
