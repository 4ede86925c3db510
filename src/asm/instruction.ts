/**
 * Instructions, labels and subprograms as plain values.
 *
 * They are independent of how a program is loaded: a `Reference` names what only a loader can fill in (the
 * file descriptor of a map), and the field stays zero.
 */
import type { MapSpec } from './map.ts';
import type { Position } from './position.ts';

/** A register, r0 to r10. See `r0` to `r10` of `tsbpf/asm`. */
export interface Register {
  readonly register: number;
}

/** An object that an instruction refers to by name; `assemble` or the loader fills in its number. */
export type Reference =
  /** The target of a jump, of a call or of a load of a function's address: a label of the same list. */
  | { readonly kind: 'label'; readonly label: string }
  /**
   * The target of a call or of a load of a function's address: a subprogram, which `assemble` appends to the
   * program.
   */
  | { readonly kind: 'subprogram'; readonly subprogram: SubprogramCode }
  /** A map (`BPF_PSEUDO_MAP_FD`). */
  | { readonly kind: 'map'; readonly map: MapSpec }
  /**
   * The address of a byte in the value of an array map with one entry (`BPF_PSEUDO_MAP_VALUE`, Linux 5.2).
   */
  | {
      readonly kind: 'mapValue';
      readonly map: MapSpec;
      readonly offset: number;
      /** The prefix of a jump table's labels in an appended subprogram. */
      readonly within?: string;
    };

/**
 * An eBPF instruction (RFC 9669, section 3): opcode, two registers, a signed 16-bit offset and a signed
 * 32-bit immediate. Constructors such as `add` make it; `encode` gives its bytes.
 *
 * @example
 * import { add, type Instruction, r1 } from 'tsbpf/asm';
 *
 * const instruction: Instruction = add(r1, 8);
 * instruction.opcode; // 0x07
 * instruction.imm; // 8
 */
export interface Instruction {
  readonly opcode: number;
  readonly dst: number;
  readonly src: number;
  readonly off: number;
  readonly imm: number;
  /** The second immediate, only of the instruction with two slots, `lddw`. */
  readonly high?: number;
  /** The object that the instruction refers to by name. */
  readonly reference?: Reference;
  /** The source position of the statement, if the builder made the instruction. */
  readonly position?: Position;
}

/** The name of the position of the next instruction. See `label`. */
export interface Label {
  readonly label: string;
}

/** An element of a program's list: an instruction or a label. */
export type Item = Instruction | Label;

/**
 * A function that programs call with `callSubprogram`. `assemble` appends it once to each program that calls
 * it. Its arguments come in r1 to r5, `exit` returns r0, and its labels are local to it.
 *
 * @example
 * import { add, callSubprogram, exit, mov, r0, r1, type SubprogramCode } from 'tsbpf/asm';
 *
 * const increment: SubprogramCode = { name: 'increment', instructions: [mov(r0, r1), add(r0, 1), exit()] };
 * const program = [mov(r1, 41), callSubprogram(increment), exit()];
 */
export interface SubprogramCode {
  /**
   * A C identifier, which listings and bpftool show. If a program has two subprograms of the same name, the
   * second one becomes `NAME_2`.
   */
  readonly name: string;
  readonly instructions: readonly Item[];
}

/**
 * Whether an item of a list is a label and not an instruction.
 *
 * @example
 * import { isLabel, label } from 'tsbpf/asm';
 * isLabel(label('end')); // true
 */
export function isLabel(item: Item): item is Label {
  return 'label' in item;
}
