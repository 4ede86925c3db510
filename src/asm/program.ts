/**
 * A program and a tool before the kernel has seen them: plain values, the same on every machine.
 */
import type { TSchema } from '@sinclair/typebox';
import type { Item } from './instruction.ts';
import type { EventsSpec, MapSpec, ProgramArraySpec } from './map.ts';

/** Where a program is to be attached. */
export type Attachment =
  /** The entry of a kernel function (program type kprobe). */
  | { readonly kind: 'kprobe'; readonly symbol: string }
  /** Its return (program type kprobe). */
  | { readonly kind: 'kretprobe'; readonly symbol: string }
  /**
   * The entry of a kernel function, its arguments known by BTF (Linux 5.5). `btfId` is that of the function; absent where the
   * kernel's types don't have it, since it is inlined, in a module, or not there at all.
   */
  | { readonly kind: 'fentry'; readonly symbol: string; readonly btfId?: number }
  /** Its return, with the arguments that it was called with; `btfId` as for fentry. */
  | { readonly kind: 'fexit'; readonly symbol: string; readonly btfId?: number }
  /** A raw tracepoint (Linux 4.17): arguments as the kernel passes them, read by probe reads. */
  | { readonly kind: 'raw_tracepoint'; readonly tracepoint: string }
  /** A tracepoint by the record that tools like perf get from it, in a category: `sock`, `inet_sock_set_state`. */
  | { readonly kind: 'tracepoint'; readonly category: string; readonly tracepoint: string }
  /** A raw tracepoint whose arguments the verifier knows by BTF (Linux 5.5); `btfId` is that of `btf_trace_*`. */
  | { readonly kind: 'tp_btf'; readonly tracepoint: string; readonly btfId: number };

/** A program: where it goes and what it does. */
export interface ProgramSpec {
  /** At most 15 characters of [A-Za-z0-9_.]; what bpftool shows. */
  readonly name: string;
  readonly attachment: Attachment;
  readonly instructions: readonly Item[];
  /** Left out, not an error, where the kernel has nothing of that name to attach to. */
  readonly optional?: boolean;
}

/**
 * What a program array holds from the beginning, by the names of its slots or their numbers. Its programs are of the type that their hook
 * asks for, and read its arguments; but nothing is attached: they run where others go on in them.
 */
export interface TailCalled {
  readonly array: ProgramArraySpec;
  readonly programs: Readonly<Record<string | number, ProgramSpec>>;
}

/** All that one tool loads together. `E` is the schema of its events. */
export interface Tool<E extends TSchema = TSchema> {
  readonly name: string;
  readonly programs: readonly ProgramSpec[];
  /** Maps that no program refers to; the others are the tool's without being listed. */
  readonly maps?: readonly MapSpec[];
  /** Programs that aren't attached, but tail-called by others, in the program arrays that hold them. */
  readonly tailCalled?: readonly TailCalled[];
  /** The map whose rings carry the events; its schema types `onEvent`. Absent if the results are in other maps. */
  readonly events?: EventsSpec<E>;
}

/** What programs declare to the kernel, whose tracing helpers ask for a GPL-compatible licence. */
export const LICENSE = 'Dual MIT/GPL';
