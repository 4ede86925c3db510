/**
 * Programs and tools as plain values, before they are loaded. They are the same on every machine.
 */
import type { Assembled } from './assemble.ts';
import type { EventsSpec } from './events.ts';
import type { Item } from './instruction.ts';
import type { Feature } from './kernel-features.ts';
import type { MapSpec, ProgramArraySpec } from './map.ts';

/** The attach point of a program. The hooks (`kprobe`, `fentry`, ...) make it. */
export type Attachment =
  /**
   * The entry of a kernel function, or an instruction in it (program type kprobe). `symbol` is
   * `[module:]function[+offset]` or an address, `0xffffffff81234560`.
   */
  | { readonly kind: 'kprobe'; readonly symbol: string }
  /** Its return (program type kprobe). */
  | { readonly kind: 'kretprobe'; readonly symbol: string }
  /**
   * The entries or returns of many kernel functions, by names and patterns (program type kprobe, Linux 5.18).
   * `cookies` has a number for each of `functions`; by default each function that matches has its own, from
   * 0.
   */
  | {
      readonly kind: 'kprobe_multi' | 'kretprobe_multi';
      readonly functions: readonly string[];
      readonly cookies?: readonly bigint[];
    }
  /**
   * The entry of a kernel function, its arguments known by BTF (Linux 5.5). `symbol` is `[module:]function`.
   * `btfId` is the function's BTF id; it is absent if the BTF of the kernel or module does not have the
   * function, because it is inlined, in another module, or does not exist.
   */
  | { readonly kind: 'fentry'; readonly symbol: string; readonly btfId?: number }
  /** The return of a kernel function, with its arguments (Linux 5.5); `btfId` as for fentry. */
  | { readonly kind: 'fexit'; readonly symbol: string; readonly btfId?: number }
  /**
   * A hook of the Linux Security Modules (Linux 5.7). `symbol` is the function that the kernel calls at it,
   * `bpf_lsm_file_open`; `btfId` as for fentry.
   */
  | { readonly kind: 'lsm'; readonly symbol: string; readonly btfId?: number }
  /** A raw tracepoint (Linux 4.17): arguments as the kernel passes them, read by probe reads. */
  | { readonly kind: 'raw_tracepoint'; readonly tracepoint: string }
  /**
   * A classic tracepoint in a category, with the record that perf gets from it: `sock`,
   * `inet_sock_set_state`.
   */
  | { readonly kind: 'tracepoint'; readonly category: string; readonly tracepoint: string }
  /**
   * A raw tracepoint whose arguments the verifier knows by BTF (Linux 5.5); `btfId` is the id of
   * `btf_trace_*`.
   */
  | { readonly kind: 'tp_btf'; readonly tracepoint: string; readonly btfId: number };

/** The attachment of a kprobe.multi or kretprobe.multi program. */
export type MultiAttachment = Extract<Attachment, { kind: 'kprobe_multi' | 'kretprobe_multi' }>;

/** Whether a program attaches to several functions. */
export function isMulti(attachment: Attachment): attachment is MultiAttachment {
  return attachment.kind === 'kprobe_multi' || attachment.kind === 'kretprobe_multi';
}

/**
 * A program as a value: its instructions and its attach point. The hooks make it from a body.
 *
 * @example
 * ```ts
 * import { type ProgramSpec, rawTracepoint, target } from 'tsbpf';
 *
 * const onCall: ProgramSpec = rawTracepoint('sys_enter', target('x64'), (b) => b.exit());
 * console.log(onCall.name, onCall.instructions.length);
 * ```
 */
export interface ProgramSpec {
  /** 1 to 15 characters of [A-Za-z0-9_.]; bpftool shows it. */
  readonly name: string;
  readonly attachment: Attachment;
  readonly instructions: readonly Item[];
  /** The assembled instructions. Absent unless a build has assembled the program. */
  readonly assembled?: Assembled;
  /** Whether a missing attach point in the kernel skips the program instead of being an error. */
  readonly optional?: boolean;
}

/**
 * The programs of a program array, by the names or numbers of its slots. They are loaded but not attached:
 * they run when other programs tail-call them, and read the arguments of their own hook.
 */
export interface TailCalled {
  readonly array: ProgramArraySpec;
  readonly programs: Readonly<Record<string | number, ProgramSpec>>;
}

/** The map of a tool's events, or several maps by name: perf event arrays and ring buffers. */
export type ToolEvents = EventsSpec | Readonly<Record<string, EventsSpec>>;

/**
 * The programs and maps that `Session.open` loads together. `E` is the map of the tool's events, or several
 * maps by name.
 *
 * @example
 * ```ts
 * import { array, rawTracepoint, target, type Tool, u64 } from 'tsbpf';
 *
 * const calls = array('calls', { value: u64 });
 * const tool: Tool = {
 *   name: 'calls',
 *   programs: [rawTracepoint('sys_enter', target('x64'), (b) => b.count(calls, 0))],
 * };
 * ```
 */
export interface Tool<E extends ToolEvents = ToolEvents> {
  /** The name in messages. */
  readonly name: string;
  /** The programs to load and attach. */
  readonly programs: readonly ProgramSpec[];
  /** Maps that no program refers to. Maps of programs need not be listed. */
  readonly maps?: readonly MapSpec[];
  /** The programs to load into program arrays. */
  readonly tailCalled?: readonly TailCalled[];
  /**
   * The map that carries the events, which types `onEvent`, or several such maps by name, with a handler for
   * each. Absent if the results are in other maps.
   */
  readonly events?: E;
  /**
   * Features that the tool needs besides those of its programs and maps, such as a command of bpf(2) that it
   * calls later. `Session.open` asks the kernel for them before it opens anything.
   */
  readonly requires?: readonly Feature[];
}

/** The license that programs declare to the kernel. Most tracing helpers require a GPL-compatible one. */
export const LICENSE = 'Dual MIT/GPL';
