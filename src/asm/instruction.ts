/**
 * An instruction as a plain value, and what may stand between instructions in a list.
 *
 * Nothing here knows how a program is loaded: what only a loader can fill in (the fd of a map) is named
 * by a `Reference` and left at zero.
 */
import type { Layout } from './layout.ts';
import type { MapSpec } from './map.ts';
import type { Position } from './position.ts';

/** One of the machine's registers, r0 to r10. */
export interface Register {
  readonly register: number;
}

/** What an instruction points at by name, filled in when the program is assembled or loaded. */
export type Reference =
  /** A jump's, call's or function load's target: a label of the same program. */
  | { readonly kind: 'label'; readonly label: string }
  /** A call's or function load's target: a subprogram, which comes into the program by it. */
  | { readonly kind: 'subprogram'; readonly subprogram: SubprogramCode }
  /** The map itself (`BPF_PSEUDO_MAP_FD`). */
  | { readonly kind: 'map'; readonly map: MapSpec }
  /** The address of a byte in the value of an array map with one entry (`BPF_PSEUDO_MAP_VALUE`, Linux 5.2). */
  | {
      readonly kind: 'mapValue';
      readonly map: MapSpec;
      readonly offset: number;
      /** What the labels of a jump table begin with in a linked subprogram. */
      readonly within?: string;
    };

/**
 * One eBPF instruction (RFC 9669, section 3): an opcode byte, two registers, a signed 16-bit offset and a
 * signed 32-bit immediate. `high` is the second immediate of the one form that takes two slots, `lddw`,
 * and present in no other.
 */
export interface Instruction {
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  readonly off: number;
  readonly imm: number;
  readonly high?: number;
  readonly reference?: Reference;
  /** The author's line, where the builder made it. */
  readonly position?: Position;
  /** The event that a call of `bpf_perf_event_output` sends, if the builder made the call. */
  readonly sends?: SentEvent;
}

/** An event that a program sends. */
export interface SentEvent {
  /** What messages call its memory. */
  readonly name: string;
  readonly layout: Layout;
  /** The map that carries it. */
  readonly map: MapSpec;
}

/** A name for the place of the instruction that follows. */
export interface Label {
  readonly label: string;
}

/** What a program is a list of. */
export type Item = Instruction | Label;

/**
 * A function that programs call (`callSubprogram`): made once, and linked once into each program that reaches it. Its arguments come in
 * r1 to r5, `exit` returns r0, and its labels are its own.
 */
export interface SubprogramCode {
  /** A C identifier; what listings and bpftool show. Another of the same name in one program becomes `NAME_2`. */
  readonly name: string;
  readonly instructions: readonly Item[];
}

/** Whether it is a label, and no instruction. */
export function isLabel(item: Item): item is Label {
  return 'label' in item;
}
