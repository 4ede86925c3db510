/**
 * Calls of helpers and subprograms. A call places its arguments, invalidates all temporaries, and returns its
 * result in r0.
 */
import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { type EventsSpec, isEvents, schemasOf } from '../events.ts';
import {
  type Helper,
  perfEventOutput,
  ringbufDiscard,
  ringbufOutput,
  ringbufSubmit,
  tailCall,
} from '../helpers.ts';
import type { Instruction, SubprogramCode } from '../instruction.ts';
import { type IntLayout, type Layout, layoutOf, sameLayout } from '../layout.ts';
import { r0 } from '../registers.ts';
import { type Argument, isMap, placeArguments } from './call-arguments.ts';
import { writeEventType } from './event-type.ts';
import type { Holder, Machine } from './machine.ts';
import { specOf } from './map-pointer.ts';
import { numberTypeOf, S32, S64, U32, U64 } from './number-type.ts';
import { describeOperand, type Operand } from './operand.ts';
import { placeParameters } from './parameters.ts';
import { isMemory, placeOf } from './place.ts';
import type { ProgramContext } from './program-context.ts';
import type { Reservation } from './reservation.ts';
import type { Subprogram } from './subprograms.ts';
import { type Traits, Value } from './value.ts';

/** The number types of helper results, by `Helper.result`. */
const RESULTS: Readonly<Record<NonNullable<Helper['result']>, Traits | undefined>> = {
  u64: { type: U64 },
  u32: { type: U32 },
  s64: { type: S64 },
  s32: { type: S32 },
  int: { type: S32, validBits: 32 },
  void: undefined,
  pointer: { type: U64, trusted: true },
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
    if (helper === perfEventOutput) requireEvent(args[0], args[2]);
    if (helper === ringbufOutput) requireEvent(args[0], args[1]);
    if (helper === tailCall) this.#machine.requireReleased('the tail call');
    const record = RELEASING.has(helper) ? requireRecord(helper, args[0]) : undefined;
    placeArguments(this.#machine, helper, args, {
      context: () => this.#context.context,
      codeOf: this.#codeOf,
    });
    if (record) this.#machine.releaseRecord(record, RELEASING.get(helper) as string);
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

  /** Without `traits` the function has no result. */
  #called(instruction: Instruction, name: string, traits: Traits | undefined): Value {
    const machine = this.#machine;
    machine.emit(instruction);
    machine.loseTemporaries(name);
    const { position } = machine;
    const holder: Holder = { name: `${name}()`, position };
    if (traits) machine.hold(r0, holder);
    else holder.lost = { by: 'the call, which has no result', position, changed: true };
    return new Value(machine, r0, holder, traits);
  }
}

/** The helpers that release a record of a ring buffer, with the past participle for messages. */
const RELEASING: ReadonlyMap<Helper, string> = new Map([
  [ringbufSubmit, 'submitted'],
  [ringbufDiscard, 'discarded'],
]);

/**
 * The record that a helper releases. Throws ProgramError if the record is released already or, when it is
 * submitted, not all written, and TypeError for anything but a whole record.
 */
function requireRecord({ name }: Helper, argument: Argument | undefined): Reservation {
  const place = isMemory(argument) ? placeOf(argument) : undefined;
  const record = place?.provenance.record;
  if (!place || !record)
    throw new TypeError(
      `bpf_${name} needs the record that b.reserve passes to its arm 'reserved', not ${place?.name ?? describeOperand(argument as Operand)}`,
    );
  if (place.offset !== 0 || place.size !== record.size)
    throw new TypeError(`bpf_${name} needs the whole record, not ${place.name}`);
  if (name === ringbufSubmit.name) {
    if (record.type !== undefined) writeEventType(place, record.type);
    place.requireWritten();
  }
  return record;
}

/** Throws TypeError unless an event that is sent to a map has the layout of one of the map's schemas. */
function requireEvent(map: Argument | undefined, event: Argument | undefined): void {
  const events = specOf(map);
  if (!isMap(events) || !isEvents(events) || event === undefined) return;
  requireLayout(events, schemasOf(events), event);
}

/** Throws TypeError unless an event has the layout of one of the schemas. */
export function requireLayout(events: EventsSpec, schemas: readonly TSchema[], event: Argument): void {
  const place = isMemory(event) ? placeOf(event) : undefined;
  const wanted = schemas.map(layoutOf);
  if (place && wanted.some((layout) => sameLayout(layout, place.layout))) return;
  const sent = place ? `${place.name} (${describe(place.layout)})` : 'a number';
  const advice =
    Object.keys(events.variants).length > 0 ? ': make it with b.stack(events.variants.NAME)' : '';
  throw new TypeError(
    `cannot send ${sent} to map ${events.name}: its events have another layout (${wanted.map(describe).join(', ')})${advice}`,
  );
}

function describe({ kind, size }: Layout): string {
  return `${kind} of ${size} bytes`;
}
