/**
 * The program types, a row each: how the kernel numbers and attaches them, what their context holds, and what
 * they may return. The helpers that they may call are in the table of helpers (`only`).
 *
 * Sources: include/uapi/linux/bpf.h (`enum bpf_prog_type`, `enum bpf_attach_type`); kernel/bpf/verifier.c
 * (`check_return_code`); kernel/trace/bpf_trace.c and kernel/bpf/btf.c (`btf_ctx_access`) for the contexts.
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

/**
 * What a context holds.
 *
 * - `pt_regs`: the registers of the processor at the entry of a function, with its arguments.
 * - `pt_regs_at_return`: the same at its return, with its result.
 * - `array`: the arguments, in 8 bytes each; two such slots for a larger struct.
 * - `array_with_result`: the same, and the result after them.
 * - `record`: the record of a tracepoint, by its format.
 */
export type ContextKind = 'pt_regs' | 'pt_regs_at_return' | 'array' | 'array_with_result' | 'record';

/** How the kernel sees programs of one kind. */
export interface ProgramType {
  /** `enum bpf_prog_type`. */
  readonly number: number;
  /** `enum bpf_attach_type`, for types that have several. */
  readonly expectedAttachType?: number;
  /** What messages call it, before the name of the function or tracepoint. */
  readonly title: string;
  readonly context: ContextKind;
  /** Whether the verifier knows the types of arguments, so that loads follow their pointers. */
  readonly trusted: boolean;
  /** How the loader attaches it: to a perf event of a kprobe or tracepoint, or by BPF_RAW_TRACEPOINT_OPEN. */
  readonly attach: 'kprobe_event' | 'tracepoint_event' | 'raw_tracepoint_open';
  /** What it returns by default. */
  readonly result: number;
  /** The only value that the verifier lets it return. Absent if any will do. */
  readonly mustReturn?: number;
}

const KPROBE = { number: 2, trusted: false, attach: 'kprobe_event', result: 0 } as const;
const TRACING = { number: 26, trusted: true, attach: 'raw_tracepoint_open', result: 0 } as const;

export const PROGRAM_TYPES: Readonly<Record<ProgramKind, ProgramType>> = {
  kprobe: { ...KPROBE, title: 'kprobe', context: 'pt_regs' },
  kretprobe: { ...KPROBE, title: 'kretprobe', context: 'pt_regs_at_return' },
  fentry: { ...TRACING, title: 'fentry', context: 'array', expectedAttachType: 24, mustReturn: 0 },
  fexit: { ...TRACING, title: 'fexit', context: 'array_with_result', expectedAttachType: 25, mustReturn: 0 },
  tp_btf: { ...TRACING, title: 'tracepoint', context: 'array', expectedAttachType: 23 },
  raw_tracepoint: {
    ...{ number: 17, title: 'raw tracepoint', context: 'array', trusted: false },
    ...{ attach: 'raw_tracepoint_open', result: 0 },
  },
  // 0 would keep the record from other readers, as from perf.
  tracepoint: {
    ...{ number: 5, title: 'tracepoint', context: 'record', trusted: false },
    ...{ attach: 'tracepoint_event', result: 1 },
  },
};
