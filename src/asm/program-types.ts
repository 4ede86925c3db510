/**
 * The table of program types: their numbers, attach methods, contexts and permitted return values. The
 * helpers that each type may call are in the table of helpers (`Helper.only`).
 *
 * Sources: include/uapi/linux/bpf.h (`enum bpf_prog_type`, `enum bpf_attach_type`); kernel/bpf/verifier.c
 * (`check_return_code`); kernel/trace/bpf_trace.c and kernel/bpf/btf.c (`btf_ctx_access`) for the contexts.
 */

/** A kind of program, named after its hook. */
export type ProgramKind =
  | 'kprobe'
  | 'kretprobe'
  | 'kprobe_multi'
  | 'kretprobe_multi'
  | 'fentry'
  | 'fexit'
  | 'lsm'
  | 'raw_tracepoint'
  | 'tp_btf'
  | 'tracepoint';

/**
 * The content of a context.
 *
 * - `pt_regs`: the CPU registers at the entry of a function, including its arguments.
 * - `pt_regs_at_return`: the CPU registers at the return of a function, including its return value.
 * - `array`: the arguments in slots of 8 bytes. A larger struct takes two slots.
 * - `array_with_result`: the same slots, followed by the return value.
 * - `record`: the record of a tracepoint, as its format file describes it.
 */
export type ContextKind = 'pt_regs' | 'pt_regs_at_return' | 'array' | 'array_with_result' | 'record';

/** The properties of one program kind. */
export interface ProgramType {
  /** `enum bpf_prog_type`. */
  readonly number: number;
  /** `enum bpf_attach_type`, for program types with several attach types. */
  readonly expectedAttachType?: number;
  /** The word in messages before the name of the function or tracepoint. */
  readonly title: string;
  readonly context: ContextKind;
  /** Whether the verifier knows the argument types, so that plain loads can follow their pointers. */
  readonly trusted: boolean;
  /**
   * The attach method: a perf event of a kprobe or tracepoint, a link to many functions, or
   * BPF_RAW_TRACEPOINT_OPEN.
   */
  readonly attach: 'kprobe_event' | 'kprobe_multi' | 'tracepoint_event' | 'raw_tracepoint_open';
  /** The default return value. */
  readonly result: number;
  /** The only return value that the verifier accepts. Absent if it accepts any. */
  readonly mustReturn?: number;
}

const KPROBE = { number: 2, trusted: false, attach: 'kprobe_event', result: 0 } as const;
const KPROBE_MULTI = { ...KPROBE, attach: 'kprobe_multi', expectedAttachType: 42 } as const;
const TRACING = { number: 26, trusted: true, attach: 'raw_tracepoint_open', result: 0 } as const;

export const PROGRAM_TYPES: Readonly<Record<ProgramKind, ProgramType>> = {
  kprobe: { ...KPROBE, title: 'kprobe', context: 'pt_regs' },
  kretprobe: { ...KPROBE, title: 'kretprobe', context: 'pt_regs_at_return' },
  kprobe_multi: { ...KPROBE_MULTI, title: 'kprobe.multi', context: 'pt_regs' },
  kretprobe_multi: { ...KPROBE_MULTI, title: 'kretprobe.multi', context: 'pt_regs_at_return' },
  fentry: { ...TRACING, title: 'fentry', context: 'array', expectedAttachType: 24, mustReturn: 0 },
  fexit: { ...TRACING, title: 'fexit', context: 'array_with_result', expectedAttachType: 25, mustReturn: 0 },
  lsm: { ...TRACING, number: 29, title: 'LSM hook', context: 'array_with_result', expectedAttachType: 27 },
  tp_btf: { ...TRACING, title: 'tracepoint', context: 'array', expectedAttachType: 23 },
  raw_tracepoint: {
    ...{ number: 17, title: 'raw tracepoint', context: 'array', trusted: false },
    ...{ attach: 'raw_tracepoint_open', result: 0 },
  },
  // A return value of 0 would hide the record from other readers of the tracepoint, such as perf.
  tracepoint: {
    ...{ number: 5, title: 'tracepoint', context: 'record', trusted: false },
    ...{ attach: 'tracepoint_event', result: 1 },
  },
};
