/**
 * Calls of helpers and subprograms. A call places its arguments, invalidates all temporaries, and returns its
 * result in r0.
 */
import * as insn from '../constructors.ts';
import { type Helper, perfEventOutput } from '../helpers.ts';
import type { Instruction, SubprogramCode } from '../instruction.ts';
import { type IntLayout, type Layout, layoutOf, sameLayout } from '../layout.ts';
import { isEvents } from '../map.ts';
import { r0 } from '../registers.ts';
import { type Argument, isMap, placeArguments } from './call-arguments.ts';
import type { Machine } from './machine.ts';
import { specOf } from './map-pointer.ts';
import { numberTypeOf, S32, S64, U32, U64 } from './number-type.ts';
import { placeParameters } from './parameters.ts';
import { isMemory, placeOf } from './place.ts';
import type { ProgramContext } from './program-context.ts';
import type { Subprogram } from './subprograms.ts';
import { type Traits, Value } from './value.ts';

/** The number types of helper results, by `Helper.result`. */
const RESULTS: Readonly<Record<NonNullable<Helper['result']>, Traits>> = {
  u64: { type: U64 },
  u32: { type: U32 },
  s64: { type: S64 },
  int: { type: S32, validBits: 32 },
};

/** Emits the calls of one program or subprogram. */
export class Calls {
  readonly #machine: Machine;
  readonly #context: ProgramContext;
  readonly #codeOf: (subprogram: Subprogram) => SubprogramCode;

  /** `codeOf` returns the code of a subprogram, and builds it at the first call. */
  constructor(machine: Machine, context: ProgramContext, codeOf: (subprogram: Subprogram) => SubprogramCode) {
    this.#machine = machine;
    this.#context = context;
    this.#codeOf = codeOf;
  }

  /**
   * Emits the call of a helper and returns its result, a temporary in r0. Throws TypeError for arguments that
   * the helper does not accept.
   */
  helper(helper: Helper, args: readonly Argument[]): Value {
    this.#context.requireHelper(helper);
    if (helper === perfEventOutput) requireEvent(args);
    placeArguments(this.#machine, helper, args, {
      context: () => this.#context.context,
      codeOf: this.#codeOf,
    });
    return this.#called(insn.call(helper), `bpf_${helper.name}`, RESULTS[helper.result ?? 'u64']);
  }

  /**
   * Emits the call of a subprogram and returns its result, a temporary in r0. Builds the subprogram if
   * needed.
   */
  subprogram(subprogram: Subprogram, args: readonly Argument[]): Value {
    const { name, parameters, context } = subprogram;
    const returned = numberTypeOf(layoutOf(subprogram.returns) as IntLayout);
    const code = this.#codeOf(subprogram);
    const first = context ? this.#context.context : undefined;
    const filled = placeParameters(this.#machine, name, parameters, args, first);
    const result = this.#called(insn.callSubprogram(code), name, { type: returned });
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

/** Throws TypeError unless the event for `bpf_perf_event_output` has the layout of the map's schema. */
function requireEvent([map, , event]: readonly Argument[]): void {
  const events = specOf(map);
  if (!isMap(events) || !isEvents(events) || event === undefined) return;
  const wanted = layoutOf(events.event);
  const place = isMemory(event) ? placeOf(event) : undefined;
  if (place && sameLayout(wanted, place.layout)) return;
  const sent = place ? `${place.name} (${describe(place.layout)})` : 'a number';
  throw new TypeError(
    `cannot send ${sent} to map ${events.name}: its events have another layout (${describe(wanted)})`,
  );
}

function describe({ kind, size }: Layout): string {
  return `${kind} of ${size} bytes`;
}
