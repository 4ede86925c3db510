/**
 * Putting a helper's arguments into r1 to r5, in an order in which none overwrites what another still needs.
 */

import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import type { ArgKind, Helper } from '../helpers.ts';
import type { Register, SubprogramCode } from '../instruction.ts';
import { hasFields, type Layout, layoutOf, u64 } from '../layout.ts';
import type { MapSpec } from '../map.ts';
import { describePosition } from '../position.ts';
import { r1, r2, r3, r4, r5 } from '../registers.ts';
import { KernelPointer } from './kernel-pointer.ts';
import type { Machine } from './machine.ts';
import { MapPointer } from './map-pointer.ts';
import { describeOperand, loadInto, type Operand } from './operand.ts';
import { isStructMemory, Place, placeOf, type StructMemory } from './place.ts';
import { StackSlot } from './stack.ts';
import type { Subprogram } from './subprograms.ts';
import { Value } from './value.ts';

/** What a helper can be given. */
export type Argument = Operand | StructMemory | KernelPointer | MapSpec | MapPointer | Subprogram;

/** What a call needs from the program that makes it. */
export interface CallingProgram {
  /** The program's context. */
  context(): Value;
  /** The code of a subprogram in this program. */
  codeOf(subprogram: Subprogram): SubprogramCode;
}

export const ARGUMENT_REGISTERS = [r1, r2, r3, r4, r5] as const;

/** One argument's way into its register. */
export interface Move {
  readonly to: Register;
  /** The register that it reads, if any. */
  readonly from: Register | undefined;
  readonly emit: () => void;
}

/** Emits the instructions that place `args`. */
export function placeArguments(
  machine: Machine,
  helper: Helper,
  args: readonly Argument[],
  program: CallingProgram,
): void {
  const callee = `bpf_${helper.name}`;
  const queue = [...args];
  const written: Place[] = [];
  let sized: Place | undefined;
  let map: MapSpec | undefined;
  const next = (kind: ArgKind): Argument => {
    const argument = queue.shift();
    if (argument === undefined) throw new TypeError(`${callee} lacks its ${kind} argument`);
    return argument;
  };
  const required = helper.args.length - (helper.optional ?? 0);
  const moves: Move[] = [];
  const place = (kind: ArgKind, to: Register): Move => {
    if (kind === 'ctx') return fromOperand(machine, to, program.context());
    if (kind === 'size' && sized) {
      const { size } = sized;
      sized = undefined;
      return { to, from: undefined, emit: () => machine.emit(insn.mov(to, size)) };
    }
    const argument = next(kind);
    if (kind === 'map') {
      map = argument instanceof MapPointer ? argument.spec : asMap(argument, callee);
      if (argument instanceof MapPointer) return fromOperand(machine, to, argument.value);
      return fromMap(machine, to, map);
    }
    if (kind === 'callback') {
      if (!isSubprogram(argument)) throw new TypeError(`${callee} asks for a subprogram to call`);
      if (argument.context)
        throw new TypeError(`${argument.name} asks for the context, which ${callee} doesn't hand over`);
      const subprogram = program.codeOf(argument);
      return { to, from: undefined, emit: () => machine.emit(insn.loadFunction(to, subprogram)) };
    }
    if (kind === 'callbackContext' && (isStructMemory(argument) || argument instanceof Place)) {
      const place = placeOf(argument);
      if (!(place.base instanceof StackSlot))
        throw new TypeError(`${place.name} is not on the stack, and ${callee} hands nothing else over`);
      place.requireWritten();
      return fromAddress(machine, to, place);
    }
    if (kind === 'out' || kind === 'partial') {
      const place = writable(argument, callee);
      if (kind === 'partial') place.set(0);
      written.push(place);
      sized = place;
      return fromAddress(machine, to, place);
    }
    if (kind === 'key' || kind === 'value' || kind === 'memory') {
      const schema = kind === 'key' ? map?.key : kind === 'value' ? map?.value : undefined;
      const place = inMemory(machine, argument, callee, schema);
      const wanted = schema && layoutOf(schema);
      if (wanted && place.size !== wanted.size)
        throw new TypeError(
          `the ${kind} of map ${map?.name} has ${wanted.size} bytes; ${place.name} has ${place.size}`,
        );
      place.requireWritten();
      if (kind === 'memory') sized = place;
      return fromAddress(machine, to, place);
    }
    return fromOperand(machine, to, asOperand(argument, callee));
  };
  for (const [i, kind] of helper.args.entries()) {
    const to = ARGUMENT_REGISTERS[i];
    if (!to) throw new RangeError(`${callee} has more than five arguments`);
    if (i >= required && queue.length === 0 && !sized) break;
    moves.push(place(kind, to));
  }
  if (queue.length > 0) throw new TypeError(`${callee} was given ${queue.length} arguments too many`);
  emitInOrder(machine, moves, callee);
  for (const place of written) place.markWritten();
}

/** Emits moves to different registers so that none overwrites what another still reads. `callee` is for the message. */
export function emitInOrder(machine: Machine, moves: readonly Move[], callee: string): void {
  let pending = [...moves];
  while (pending.length > 0) {
    const free = pending.find(({ to }) => !pending.some((other) => other.to !== to && other.from === to));
    if (!free)
      throw new ProgramError(
        `the arguments of ${callee} at ${describePosition(machine.position)} lie in each other's registers: keep() one of them`,
      );
    free.emit();
    pending = pending.filter((move) => move !== free);
  }
}

function asMap(argument: Argument, callee: string): MapSpec {
  if (!isMap(argument)) throw new TypeError(`${callee} asks for a map`);
  return argument;
}

function fromMap(machine: Machine, to: Register, map: MapSpec): Move {
  return { to, from: undefined, emit: () => machine.emit(insn.loadMap(to, map)) };
}

export function fromOperand(machine: Machine, to: Register, operand: Operand): Move {
  if (operand instanceof Place && operand.layout.kind === 'int' && operand.takesScratch) {
    // Before any argument is in its register, since a scratch register might be one of those.
    const from = operand.toRegister();
    return {
      to,
      from,
      emit: () => {
        if (from.register !== to.register) machine.emit(insn.mov(to, from));
      },
    };
  }
  const from =
    operand instanceof Value ? operand.read() : operand instanceof Place ? operand.baseRegister() : undefined;
  return { to, from, emit: () => loadInto(machine, to, operand) };
}

export function fromAddress(machine: Machine, to: Register, place: Place): Move {
  const from = place.baseRegister();
  return {
    to,
    from,
    emit: () => {
      if (from !== to) machine.emit(insn.mov(to, from));
      if (place.offset !== 0) machine.emit(insn.add(to, place.offset));
    },
  };
}

/** The memory of an argument that a helper writes. Throws TypeError for anything that the program could not read the result from. */
function writable(argument: Argument, callee: string): Place {
  const place = isStructMemory(argument) || argument instanceof Place ? placeOf(argument) : undefined;
  if (place?.kind === 'memory' && place.isWhole) return place;
  const given = place ? `${place.name}, which programs only read` : describeArgument(argument);
  throw new TypeError(
    `${callee} writes to memory, and was given ${given}: pass a b.stack(), or memory of a map`,
  );
}

function describeArgument(argument: Argument): string {
  if (argument instanceof KernelPointer) return `a pointer to a ${argument.struct} of the kernel`;
  if (argument instanceof MapPointer) return argument.spec.name;
  if (isMap(argument) || isSubprogram(argument)) return argument.name;
  return `the number ${describeOperand(argument as Operand)}`;
}

/**
 * The memory of an argument that a helper reads through a pointer: its own, or a new stack slot with a copy. A number is converted to
 * `schema`, if it fits. Throws TypeError for a number if the helper asks for a struct.
 */
export function inMemory(machine: Machine, argument: Argument, callee: string, schema?: TSchema): Place {
  const wanted = schema && layoutOf(schema);
  const place = isStructMemory(argument) || argument instanceof Place ? placeOf(argument) : undefined;
  if (place?.kind === 'memory' && place.isWhole && liesAs(place.layout, wanted)) return place;
  // Helpers take no address of the context nor of a kernel structure: a copy goes there.
  const operand = place ?? asOperand(argument, callee);
  const layout = wanted ?? (operand instanceof Place ? operand.layout : layoutOf(u64));
  const isNumber = !(operand instanceof Place) || operand.layout.kind === 'int';
  if (isNumber && hasFields(layout))
    throw new TypeError(
      `${callee} asks for a ${layout.kind} of ${layout.size} bytes, and ${describeOperand(operand)} is a number: put it into a b.stack() of that schema`,
    );
  const name = operand instanceof Place ? operand.name : 'argument';
  const slot = machine.slot(name, layout.size);
  const copy = new Place(machine, slot, slot.offset, layout, name);
  copy.set(operand);
  return copy;
}

/** Whether a helper that asks for `wanted` can take memory of that layout as it is: two numbers must have one type. */
function liesAs(layout: Layout, wanted: Layout | undefined): boolean {
  // A wrong size has a message of its own.
  if (wanted && hasFields(wanted) && layout.kind === 'int') return layout.size !== wanted.size;
  if (wanted?.kind !== 'int' || layout.kind !== 'int') return true;
  const { size, signed, bigEndian } = layout;
  return size === wanted.size && signed === wanted.signed && bigEndian === wanted.bigEndian;
}

/** An argument that has to be a number or an address, in a register or to be loaded into one. */
export function asOperand(argument: Argument, callee: string): Operand {
  if (argument instanceof KernelPointer) return argument.value;
  if (argument instanceof MapPointer) return asOperand(argument.spec, callee);
  if (isMap(argument) || isStructMemory(argument) || isSubprogram(argument))
    throw new TypeError(
      `${callee} asks for a value here, not for ${isStructMemory(argument) ? placeOf(argument).name : argument.name}`,
    );
  return argument;
}

/** Whether it is the spec of a map. */
export function isMap(argument: Argument | undefined): argument is MapSpec {
  return typeof argument === 'object' && 'kind' in argument && argument.kind === 'map';
}

function isSubprogram(argument: Argument): argument is Subprogram {
  return typeof argument === 'object' && 'body' in argument;
}
