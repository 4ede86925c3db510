/**
 * Calls, of helpers and of subprograms: arguments, the call itself, and its result, with which temporaries are gone.
 */
import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { type Helper, perfEventOutput } from '../helpers.ts';
import type { Instruction, SentEvent, Subprogram } from '../instruction.ts';
import { type IntLayout, layoutOf } from '../layout.ts';
import { r0 } from '../registers.ts';
import { requireSchemaOfMap } from '../sent-events.ts';
import { type Argument, isMap, placeArguments } from './call.ts';
import type { Given } from './given.ts';
import type { Machine } from './machine.ts';
import { isBlock, placeOf } from './memory.ts';
import { numberTypeOf, S32, S64, U32, U64 } from './number-type.ts';
import { placeParameters } from './parameters.ts';
import { Place } from './place.ts';
import { type Traits, Value } from './value.ts';

/** A subprogram as its callers see it. */
export interface Callee {
  readonly name: string;
  readonly parameters: readonly TSchema[];
  /** The integer schema of its result. */
  readonly returns: TSchema;
  /** Whether it is given the program's context as well, ahead of them. */
  readonly context: boolean;
}

/** What the results of helpers are, by `Helper.result`. */
const RESULTS: Readonly<Record<NonNullable<Helper['result']>, Traits>> = {
  u64: { type: U64 },
  u32: { type: U32 },
  s64: { type: S64 },
  int: { type: S32, validBits: 32 },
};

/** Makes the calls of one program or subprogram. `R` is what subprograms are built from. */
export class Caller<R extends Callee> {
  readonly #machine: Machine;
  readonly #given: Given;
  readonly #built: (routine: R) => Subprogram;

  /** `built` gives what the program has of a subprogram. */
  constructor(machine: Machine, given: Given, built: (routine: R) => Subprogram) {
    this.#machine = machine;
    this.#given = given;
    this.#built = built;
  }

  /** Emits the call of a helper: its result, a temporary in r0. Throws TypeError for arguments that it doesn't take. */
  helper(helper: Helper, args: readonly Argument[]): Value {
    this.#given.requireHelper(helper);
    const sends = helper === perfEventOutput ? sentBy(args) : undefined;
    if (sends) requireSchemaOfMap(sends);
    placeArguments(this.#machine, helper, args, {
      context: () => this.#given.context,
      built: (callback) => this.#built(callback as unknown as R),
    });
    const instruction = { ...insn.call(helper), ...(sends && { sends }) };
    return this.#called(instruction, `bpf_${helper.name}`, RESULTS[helper.result ?? 'u64']);
  }

  /** Emits the call of a subprogram, which is built if it isn't yet: its result, a temporary in r0. */
  subprogram(routine: R, args: readonly Argument[]): Value {
    const { name, parameters, context } = routine;
    const returned = numberTypeOf(layoutOf(routine.returns) as IntLayout);
    const subprogram = this.#built(routine);
    const first = context ? this.#given.context : undefined;
    const filled = placeParameters(this.#machine, name, parameters, args, first);
    const result = this.#called(insn.callSubprogram(subprogram), name, { type: returned });
    for (const place of filled) place.markWritten();
    return result;
  }

  #called(instruction: Instruction, name: string, traits: Traits): Value {
    const machine = this.#machine;
    machine.emit(instruction);
    machine.loseTemporaries(name);
    const holder = { name: `${name}()`, position: machine.position };
    machine.hold(r0, holder);
    return new Value(machine, r0, holder, traits);
  }
}

/** The event that a call of `bpf_perf_event_output` with these arguments sends. */
function sentBy([map, , event]: readonly Argument[]): SentEvent | undefined {
  if (!isMap(map) || !(event instanceof Place || isBlock(event))) return undefined;
  const { name, layout } = placeOf(event);
  return { map, name, layout };
}
