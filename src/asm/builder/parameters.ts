/**
 * Parameters and arguments of subprograms: numbers pass by value in a register, memory by address.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import type { Register } from '../instruction.ts';
import { isOut, type Layout, layoutOf } from '../layout.ts';
import { r1 } from '../registers.ts';
import {
  ARGUMENT_REGISTERS,
  type Argument,
  asOperand,
  emitInOrder,
  fromAddress,
  fromOperand,
  type Move,
} from './call-arguments.ts';
import type { KernelPointer } from './kernel-pointer.ts';
import type { Holder, Machine } from './machine.ts';
import { type Memory, memory } from './memory.ts';
import { numberTypeOf } from './number-type.ts';
import { type Operand, requireFits } from './operand.ts';
import { isMemory, type Place, placeOf, type StructMemory } from './place.ts';
import { Value } from './value.ts';

/**
 * The parameters of a subprogram body, by schema: a value for an integer schema, and the caller's memory for
 * any other.
 */
export type ParametersOf<P extends readonly TSchema[]> = {
  readonly [I in keyof P]: Static<P[I]> extends number | bigint ? Value : Memory<P[I]>;
};

/**
 * The arguments of a call, by the schemas of the parameters: a number or a pointer for an integer schema,
 * memory for any other.
 */
export type ArgumentsOf<P extends readonly TSchema[]> = {
  readonly [I in keyof P]: Static<P[I]> extends number | bigint ? Operand | KernelPointer : Memory<P[I]>;
};

/**
 * The key or value of a map statement, by its schema: a number or an address for an integer schema, memory
 * for any other. Kernel memory and context fields are copied to the stack first.
 */
export type Input<S extends TSchema> =
  unknown extends Static<S>
    ? Operand | StructMemory | KernelPointer
    : Static<S> extends number | bigint
      ? Operand | KernelPointer
      : Memory<S> | Place;

/**
 * Takes over the parameters of a function from the argument registers, beginning with the one at index
 * `first`.
 */
export function receiveParameters<P extends readonly TSchema[]>(
  machine: Machine,
  parameters: P,
  first: number,
  { name, position }: Holder,
): ParametersOf<P> {
  const received = parameters.map((schema, index): Value | Memory<TSchema> => {
    const register = ARGUMENT_REGISTERS[first + index] as Register;
    const holder = { name: parameterName(name, index), position };
    const layout = layoutOf(schema);
    machine.hold(register, holder);
    if (layout.kind !== 'int') {
      const tracked = isOut(schema) ? { name: holder.name, size: layout.size } : undefined;
      if (tracked) machine.stack.track(tracked);
      const base = new Value(machine, register, holder);
      return memory(machine, base, 0, schema, holder.name, { align: layout.align, tracked });
    }
    return new Value(machine, register, holder, { type: numberTypeOf(layout) });
  });
  return received as ParametersOf<P>;
}

/** Throws unless every byte of the `out` parameters has been written. */
export function requireFilled(parameters: readonly TSchema[], received: readonly unknown[]): void {
  for (const [index, schema] of parameters.entries())
    if (isOut(schema)) placeOf(received[index] as Place | StructMemory).requireWritten();
}

/**
 * Emits the instructions that move `args` to the argument registers. A `context` is the first argument.
 * Returns the memory that the function fills: its `out` arguments.
 */
export function placeParameters(
  machine: Machine,
  name: string,
  parameters: readonly TSchema[],
  args: readonly unknown[],
  context: Value | undefined,
): readonly Place[] {
  if (args.length !== parameters.length)
    throw new TypeError(`${name} takes ${parameters.length} arguments, but got ${args.length}`);
  const moves: Move[] = context === undefined ? [] : [fromOperand(machine, r1, context)];
  const filled: Place[] = [];
  for (const [index, schema] of parameters.entries()) {
    const to = ARGUMENT_REGISTERS[moves.length] as Register;
    const argument = args[index] as Argument;
    const isFilled = isOut(schema);
    moves.push(placeOne(machine, to, layoutOf(schema), argument, parameterName(name, index), isFilled));
    if (isFilled) filled.push(placeOf(argument as Place | StructMemory));
  }
  emitInOrder(moves, name);
  return filled;
}

function placeOne(
  machine: Machine,
  to: Register,
  layout: Layout,
  argument: Argument,
  name: string,
  isFilled: boolean,
): Move {
  if (layout.kind === 'int') {
    const operand = asOperand(argument, name);
    requireFits(operand, numberTypeOf(layout), name);
    return fromOperand(machine, to, operand);
  }
  const place = isMemory(argument) ? placeOf(argument) : undefined;
  if (place?.kind !== 'memory')
    throw new TypeError(`${name} must be memory on the stack or in a map: copy it to a b.stack() first`);
  if (place.size !== layout.size)
    throw new TypeError(`${name} has ${layout.size} bytes; ${place.name} has ${place.size}`);
  if (place.alignment < layout.align)
    throw new TypeError(
      `${name} is aligned to ${layout.align} bytes; ${place.name} is aligned to ${place.alignment}: copy it to a b.stack()`,
    );
  if (!isFilled) place.requireWritten();
  return fromAddress(machine, to, place);
}

function parameterName(name: string, index: number): string {
  return `argument ${index} of ${name}`;
}
