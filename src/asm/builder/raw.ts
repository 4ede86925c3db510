/**
 * Checks of raw instructions, which `b.emit` mixes with statements. They may only read registers that are
 * set, and may not write a register that holds a kept value. Stack accesses through r10 are tracked, too.
 */

import { registersIn, registersLost, registersRead, registersSet } from '../cfg/effects.ts';
import { fallsThrough, leadsToFunction } from '../cfg/graph.ts';
import { labelNamed, labelsLoaded } from '../cfg/labeled.ts';
import { ProgramError } from '../error.ts';
import { withSourcePosition } from '../error-position.ts';
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { JMP, JMP32 } from '../isa/form.ts';
import { type Form, formOf } from '../isa.ts';
import { isReserved } from '../labels.ts';
import { CALL, EXIT, GOTOX } from '../opcodes.ts';
import { type Position, withLine } from '../position.ts';
import { LabelStates } from './label-states.ts';
import type { Machine } from './machine.ts';
import { describeHolder, isRaw } from './state.ts';

/** r6, the first register that a call preserves. Values in r6 to r9 are kept values. */
const FIRST_KEPT = 6;
const FRAME_POINTER = 10;

/** The raw instructions of one program or subprogram. */
export class RawCode {
  readonly #machine: Machine;
  readonly #labels: LabelStates;
  /** The labels of each jump table loaded so far: the possible targets of `gotox`. */
  readonly #loaded = new Set<readonly string[]>();

  #isUsed = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#labels = new LabelStates(machine);
  }

  /** The source lines of the raw labels. */
  get labels(): ReadonlyMap<string, Position | undefined> {
    return this.#labels.positions;
  }

  /** Whether there are raw instructions or labels. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  /** Checks the jumps to the shared exit, when the program is complete. */
  finish(): void {
    this.#labels.finish();
  }

  /** Emits the items unchanged, except unreachable instructions before their last label, which it drops. */
  emit(items: readonly Item[]): void {
    this.#isUsed = true;
    const lastLabel = items.findLastIndex(isLabel);
    for (const [index, item] of items.entries()) {
      if (isLabel(item)) this.#labels.place(requireOwn(item.label));
      else if (!this.#machine.ended || index > lastLabel) this.#instruction(item);
    }
  }

  #instruction(instruction: Instruction): void {
    const form = formOf(instruction);
    try {
      this.#check(instruction, form);
    } catch (error) {
      // Instructions parsed from text carry their own lines.
      throw instruction.position === undefined ? error : withSourcePosition(error, instruction.position);
    }
    if (fallsThrough(form)) this.#machine.emit(instruction);
    else this.#machine.end(instruction);
    if (form === undefined) return;
    if (registersLost(form) !== 0)
      this.#machine.loseTemporaries(form.reads.includes('packet') ? 'a raw packet load' : 'a raw call');
    for (const number of registersIn(registersSet(instruction, form)))
      this.#machine.setRaw(number, 'a raw instruction');
  }

  #check(instruction: Instruction, form: Form | undefined): void {
    requireLabel(instruction, form);
    this.#machine.requireReached();
    if (form === undefined) return;
    // The exit of a program reads r0, but that of a subprogram does not. The graph checks it later.
    if (form.flow !== 'exit') this.#checkReads(instruction, form);
    else this.#machine.requireReleased('the exit');
    this.#checkWrites(instruction, form);
    this.#accessStack(instruction, form);
    this.#recordTargets(instruction, form);
  }

  #checkReads(instruction: Instruction, form: Form): void {
    for (const number of registersIn(registersRead(instruction, form))) {
      if (number === FRAME_POINTER) continue;
      const holder = this.#machine.holderOf(number);
      // After a label that only later jumps reach, the graph checks later which registers are set.
      if (holder?.displaced) throw this.#unset(form, number);
      if ((holder === undefined || holder.broken) && !this.#labels.assumed) throw this.#unset(form, number);
      this.#machine.readRaw(number);
    }
  }

  #unset(form: Form, number: number): Error {
    const lost = this.#machine.lostFrom(number);
    const what = `${form.name} reads r${number}, which `;
    if (lost?.lost === undefined) return new ProgramError(`${what}no value or raw instruction has set`);
    const { by, position } = lost.lost;
    return new ProgramError(`${what}is not set: ${withLine(by, position)} overwrote ${describeHolder(lost)}`);
  }

  #checkWrites(instruction: Instruction, form: Form): void {
    for (const number of registersIn(registersSet(instruction, form))) {
      if (number === FRAME_POINTER) throw new ProgramError(`${form.name} writes r10, the frame pointer`);
      const holder = this.#machine.holderOf(number);
      if (number < FIRST_KEPT || holder === undefined || isRaw(holder)) continue;
      throw new ProgramError(
        `${form.name} writes r${number}, which holds ${describeHolder(holder)}: ${this.#advice()}`,
      );
    }
  }

  /** Throws if a load through r10 reads unwritten bytes. Marks bytes stored through r10 as written. */
  #accessStack({ dst, src, off }: Instruction, { name, size, reads, affects }: Form): void {
    if (size === undefined) return;
    const [isLoad, isStore] = [reads.includes('memory'), affects.includes('memory')];
    if ((isStore ? dst : src) !== FRAME_POINTER || !(isLoad || isStore)) return;
    const { stack } = this.#machine;
    const unwritten = isLoad && !this.#labels.assumed ? stack.unwrittenAt(off, size) : undefined;
    if (unwritten !== undefined)
      throw new ProgramError(
        `${name} reads byte ${unwritten.byte} of ${unwritten.slot.name}, which was never written`,
      );
    if (isStore) stack.writeAt(off, size);
  }

  #advice(): string {
    const free = [6, 7, 8, 9].filter((number) => this.#machine.holderOf(number) === undefined);
    return free.length === 0
      ? 'r6 to r9 are all in use; keep values inside a b.block to free their registers at its end'
      : `${free.map((number) => `r${number}`).join(', ')} ${free.length === 1 ? 'is' : 'are'} free`;
  }

  /** Records the state here for each label that the instruction jumps to or calls. */
  #recordTargets(instruction: Instruction, form: Form): void {
    const label = labelNamed(instruction);
    if (label !== undefined) {
      requireOwn(label);
      if (leadsToFunction(form)) this.#labels.callFrom(label);
      else this.#labels.jumpFrom(label);
    }
    this.#loaded.add(labelsLoaded(instruction));
    if (form.name === 'gotox')
      for (const each of new Set([...this.#loaded].flat())) this.#labels.jumpFrom(each);
  }
}

function requireOwn(label: string): string {
  if (isReserved(label))
    throw new ProgramError(`label '${label}' is invalid: % is reserved for generated labels`);
  return label;
}

/** Throws TypeError for a jump or call by distance, which changes when the builder lays out branches. */
function requireLabel(instruction: Instruction, form: Form | undefined): void {
  if (instruction.reference !== undefined) return;
  const isFunction = leadsToFunction(form);
  if (!isFunction && !isJump(instruction)) return;
  throw new TypeError(
    `a raw ${isFunction ? (form as Form).name : 'jump'} must name a label: distances change when the builder lays out branches`,
  );
}

/**
 * Whether the instruction jumps to a label. Looks only at the opcode, because another field may be wrong.
 * Calls, `exit` and `gotox` (which jumps through a table) belong to the same opcode classes.
 */
function isJump({ opcode }: Instruction): boolean {
  const family = opcode & 0x07;
  return (family === JMP || family === JMP32) && ![CALL, EXIT, GOTOX].includes(opcode);
}
