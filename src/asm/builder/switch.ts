/**
 * The jumps and arms of `b.switch`.
 */
import type { BodyResult } from '../body.ts';
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import type { Arm } from './branch.ts';
import { Arms } from './flow.ts';
import type { Machine } from './machine.ts';
import { includes, U32 } from './number-type.ts';
import { constantOf, loadInto, requireFits } from './operand.ts';
import { bytesOf, Place } from './place.ts';
import { Value } from './value.ts';

/**
 * A case of `b.switch`: its constant or constants, and its arm.
 *
 * @example
 * ```ts
 * import { type Builder, type Case, rawTracepoint, target } from 'tsbpf';
 *
 * const ignored = (b: Builder): Case => [[0, 1], () => b.exit()];
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => b.switch(b.arg(1), [ignored(b)]));
 * ```
 */
export type Case = readonly [
  constants: number | bigint | readonly (number | bigint)[],
  body: () => BodyResult,
];

/** A constant, as the unsigned number that the subject would contain, and the label of its arm. */
interface Entry {
  readonly bits: bigint;
  readonly label: string;
}

/**
 * Up to 8 constants are compared one after the other, in the order of the cases; more are searched by
 * bisection. Measured on x86-64: a chain of 8 comparisons takes as long as any tree, and a chain of 64 about
 * 4 ns longer. A tree with fewer than 8 comparisons per leaf has more instructions.
 */
const MOST_IN_A_ROW = 8;

/**
 * Emits the jumps to the arms, then the arms: `otherwise` first, then each case. Throws RangeError for a
 * duplicate constant and for one that the subject cannot hold, and TypeError for a case without constants.
 */
export class Switch {
  readonly #machine: Machine;
  /** The label of each arm. */
  readonly #labels: readonly string[];
  readonly #end: string;
  readonly #arms: Arms;
  readonly #built: Arm[] = [];

  constructor(machine: Machine, subject: Value | Place, cases: readonly Case[]) {
    const { length } = machine.items;
    this.#machine = machine;
    const labels = cases.map(() => machine.freshLabel('case'));
    const rest = machine.freshLabel('otherwise');
    this.#labels = [rest, ...labels];
    this.#end = machine.freshLabel('end');
    const compared = subject instanceof Place && !subject.isWhole ? subject.get() : subject;
    emitJumps(machine, compared, entriesOf(compared, cases, labels), rest);
    this.#arms = new Arms(machine, length);
  }

  /** Ends an arm, whose body returned `result`, and begins the next case's. */
  next(result: BodyResult): void {
    this.#built.push(this.#arms.next(result));
  }

  /** Ends the last arm, whose body returned `result`. */
  end(result: BodyResult): void {
    this.#built.push(this.#arms.end(result));
    const { items } = this.#machine;
    const over = { ...insn.ja(this.#end), position: this.#arms.position };
    for (const [index, arm] of this.#built.entries()) {
      items.push(insn.label(this.#labels[index] as string), arm.items);
      if (!arm.ended) items.push(over);
    }
    items.push(insn.label(this.#end));
  }

  fail(error: unknown): unknown {
    return this.#arms.fail(error);
  }
}

/**
 * Loads the subject and emits the jumps to the labels. If no constant is equal, control reaches `otherwise`,
 * whose code follows the jumps.
 */
function emitJumps(
  machine: Machine,
  subject: Value | Place,
  entries: readonly Entry[],
  otherwise: string,
): void {
  const jumps = new SwitchJumps(machine, subject);
  const search = (some: readonly Entry[], isLast: boolean): void => {
    if (some.length <= MOST_IN_A_ROW) {
      for (const { bits, label } of some) jumps.toIfEqual(bits, label);
      if (!isLast) machine.emit(insn.ja(otherwise));
      return;
    }
    const ascending = some.toSorted((a, b) => (a.bits < b.bits ? -1 : 1));
    const half = some.length >> 1;
    const above = machine.freshLabel('above');
    jumps.toIfGreater((ascending[half - 1] as Entry).bits, above);
    search(ascending.slice(0, half), false);
    machine.emit(insn.label(above));
    search(ascending.slice(half), isLast);
  };
  search(entries, true);
}

/** The constants of all cases, in order. */
function entriesOf(subject: Value | Place, cases: readonly Case[], labels: readonly string[]): Entry[] {
  if (cases.length === 0) throw new TypeError('a switch needs at least one case');
  const found = new Map<bigint, { readonly label: string; readonly number: number }>();
  for (const [index, [given]] of cases.entries()) {
    const number = index + 1;
    const constants: readonly (number | bigint)[] = typeof given === 'object' ? given : [given];
    if (constants.length === 0) throw new TypeError(`case ${number} of the switch has no constant`);
    for (const constant of constants) {
      const bits = bitsOf(subject, constant);
      const before = found.get(bits)?.number;
      if (before !== undefined)
        throw new RangeError(
          before === number
            ? `case ${number} of the switch lists ${constant} twice`
            : `cases ${before} and ${number} of the switch both contain ${constant}`,
        );
      found.set(bits, { label: labels[index] as string, number });
    }
  }
  return [...found].map(([bits, { label }]) => ({ bits, label }));
}

/**
 * The unsigned number that the subject contains if it is equal to `constant`. Throws RangeError if the
 * subject cannot hold it.
 */
function bitsOf(subject: Value | Place, constant: number | bigint): bigint {
  const number = constantOf(constant);
  requireFits(number, subject.type, subject.name);
  if (subject instanceof Place) return bytesOf(subject, number);
  return BigInt.asUintN(8 * sizeOf(subject), number);
}

/** The number of bytes that are compared. */
function sizeOf(subject: Value | Place): number {
  if (subject instanceof Place) return subject.size;
  return subject.validBits === 32 || includes(U32, subject.type) ? 4 : 8;
}

/** Emits the comparisons of one register with constants. */
class SwitchJumps {
  readonly #machine: Machine;
  readonly #register: Register;
  /** Whether only the low 32 bits of the register are valid. */
  readonly #lowHalf: boolean;
  readonly #size: number;
  /** The register for constants that do not fit an immediate. */
  #scratch: Register | undefined;

  constructor(machine: Machine, subject: Value | Place) {
    this.#machine = machine;
    this.#size = sizeOf(subject);
    this.#lowHalf = subject instanceof Value && subject.validBits === 32;
    if (subject instanceof Place) {
      this.#register = machine.scratch();
      subject.loadRaw(this.#register);
    } else this.#register = this.#lowHalf ? subject.read() : subject.toRegister();
  }

  toIfEqual(bits: bigint, label: string): void {
    this.#emit(insn.jeq, insn.jeq32, bits, label);
  }

  toIfGreater(bits: bigint, label: string): void {
    this.#emit(insn.jgt, insn.jgt32, bits, label);
  }

  #emit(whole: insn.Branch, half: insn.Branch, bits: bigint, label: string): void {
    const signed = BigInt.asIntN(64, bits);
    const fits = BigInt.asIntN(32, signed) === signed;
    // A 64-bit jump sign-extends its immediate, so unsigned 32-bit constants need a 32-bit jump.
    if (this.#lowHalf || (this.#size <= 4 && !fits))
      this.#machine.emit(half(this.#register, Number(bits), label));
    else this.#machine.emit(whole(this.#register, fits ? Number(signed) : this.#constant(signed), label));
  }

  #constant(constant: bigint): Register {
    this.#scratch ??= this.#machine.scratch();
    loadInto(this.#machine, this.#scratch, constant);
    return this.#scratch;
  }
}
