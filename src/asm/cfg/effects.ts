/**
 * The effects of instructions on registers, from the instruction table, as bit masks: bit 0 is r0, bit 10 is
 * r10.
 */

import { HELPERS } from '../helpers.ts';
import type { Instruction } from '../instruction.ts';
import { CALLER_SAVED } from '../isa/form.ts';
import type { Form } from '../isa.ts';
import { once } from '../once.ts';
import { CALL } from '../opcodes.ts';

/** The fixed registers of a form, and which operands it reads and sets. */
interface Named {
  readonly reads: number;
  readonly sets: number;
  /** The registers that become unreadable. */
  readonly loses: number;
  readonly readsDst: boolean;
  readonly readsSrc: boolean;
  readonly setsDst: boolean;
  readonly setsSrc: boolean;
  readonly readsArguments: boolean;
}

const known = new Map<Form, Named>();

function named(form: Form): Named {
  let found = known.get(form);
  if (found === undefined) {
    const { reads, writes } = form;
    const lost: readonly string[] = CALLER_SAVED.slice(1);
    found = {
      reads: maskOf(reads),
      sets: maskOf(writes.filter((name) => !lost.includes(name))),
      loses: maskOf(writes.filter((name) => lost.includes(name))),
      readsDst: reads.includes('dst'),
      readsSrc: reads.includes('src'),
      setsDst: writes.includes('dst'),
      setsSrc: writes.includes('src'),
      readsArguments: reads.includes('arguments'),
    };
    known.set(form, found);
  }
  return found;
}

function maskOf(names: readonly string[]): number {
  let mask = 0;
  for (const name of names) if (/^r\d+$/.test(name)) mask |= 1 << Number(name.slice(1));
  return mask;
}

/** The registers that an instruction reads. The arguments of a call are known only for helpers. */
export function registersRead(instruction: Instruction, form: Form): number {
  const { reads, readsDst, readsSrc, readsArguments } = named(form);
  return (
    reads |
    (readsDst ? 1 << instruction.dst : 0) |
    (readsSrc ? 1 << instruction.src : 0) |
    (readsArguments ? argumentsOf(instruction) : 0)
  );
}

/** The registers that hold a new value after an instruction. */
export function registersSet(instruction: Instruction, form: Form): number {
  const { sets, setsDst, setsSrc } = named(form);
  return sets | (setsDst ? 1 << instruction.dst : 0) | (setsSrc ? 1 << instruction.src : 0);
}

/** The registers that become unreadable after an instruction of the form. */
export function registersLost(form: Form): number {
  return named(form).loses;
}

/** The argument registers, r1 to r5. */
export const ARGUMENTS = 0b111110;

/** For each helper, the registers of its required arguments. */
const argumentsByHelper = once(
  () =>
    new Map(HELPERS.map(({ id, args, optional = 0 }) => [id, ((1 << (args.length - optional)) - 1) << 1])),
);

function argumentsOf({ opcode, src, imm }: Instruction): number {
  if (opcode !== CALL || src !== 0) return 0;
  return argumentsByHelper().get(imm) ?? 0;
}

/** The numbers of the registers in a mask, in ascending order. */
export function registersIn(mask: number): number[] {
  const numbers: number[] = [];
  for (let number = 0; mask >> number !== 0; number++) if ((mask >> number) & 1) numbers.push(number);
  return numbers;
}
