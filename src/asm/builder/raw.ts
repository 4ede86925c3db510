/**
 * Raw instructions among statements, checked like everything else: they read registers that are set, and
 * leave those alone that hold kept values. Loads and stores of the stack by r10 are followed, too.
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

/** The registers that calls don't lose: a value in one of them is kept. */
const FIRST_KEPT = 6;
const FRAME_POINTER = 10;

/** The raw instructions of one program or subprogram. */
export class RawCode {
  readonly #machine: Machine;
  readonly #labels: LabelStates;
  /** The labels of the jump tables that have been loaded, to which a computed jump may lead. */
  readonly #loaded = new Set<readonly string[]>();

  #isUsed = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#labels = new LabelStates(machine);
  }

  /** The labels that they define, and where. */
  get labels(): ReadonlyMap<string, Position | undefined> {
    return this.#labels.positions;
  }

  /** Whether there are any. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  /** Emits them as they are, except for what a jump among them skips and nothing else reaches. */
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
      // Instructions of a text have lines of their own.
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
    // Only the end of a program reads r0, not that of a subprogram: the graph tells them apart.
    if (form.flow !== 'exit') this.#checkReads(instruction, form);
    this.#checkWrites(instruction, form);
    this.#accessStack(instruction, form);
    this.#lead(instruction, form);
  }

  #checkReads(instruction: Instruction, form: Form): void {
    for (const number of registersIn(registersRead(instruction, form))) {
      if (number === FRAME_POINTER) continue;
      const holder = this.#machine.holderOf(number);
      // Behind a label that only later jumps lead to, the graph alone knows what is set.
      if (holder?.displaced) throw this.#unset(form, number);
      if ((holder === undefined || holder.broken) && !this.#labels.assumed) throw this.#unset(form, number);
      this.#machine.readRaw(number);
    }
  }

  #unset(form: Form, number: number): Error {
    const lost = this.#machine.lostFrom(number);
    const what = `${form.name} reads r${number}, which `;
    if (lost?.lost === undefined)
      return new ProgramError(`${what}neither a value nor a raw instruction has set`);
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

  /** A load from the stack by r10 needs bytes that are written, and a store by r10 writes its bytes. */
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
      ? 'all of r6 to r9 hold something, and a block of its own frees what is kept in it'
      : `${free.map((number) => `r${number}`).join(', ')} ${free.length === 1 ? 'is' : 'are'} free`;
  }

  /** The instruction's destination has the registers of this point. */
  #lead(instruction: Instruction, form: Form): void {
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
  if (isReserved(label)) throw new ProgramError(`label '${label}': only generated labels have a %`);
  return label;
}

/** Distances change when branches are laid out. */
function requireLabel(instruction: Instruction, form: Form | undefined): void {
  if (instruction.reference !== undefined) return;
  const isFunction = leadsToFunction(form);
  if (!isFunction && !isJump(instruction)) return;
  throw new TypeError(
    `a raw ${isFunction ? (form as Form).name : 'jump'} among statements must be to a label: distances change when branches are laid out`,
  );
}

/**
 * By its opcode alone: another field may be wrong. Calls and exit are of that family, and gotox, which leads
 * to a table's entries.
 */
function isJump({ opcode }: Instruction): boolean {
  const family = opcode & 0x07;
  return (family === JMP || family === JMP32) && ![CALL, EXIT, GOTOX].includes(opcode);
}
