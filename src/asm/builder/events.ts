/**
 * The statements that send events: `b.output` for both kinds of maps, and `b.reserve` for ring buffers.
 */
import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import {
  type EventsSpec,
  isRingBuffer,
  type NumberedVariant,
  type RingBufferSpec,
  variantNamed,
} from '../events.ts';
import { BPF_F_CURRENT_CPU } from '../flags.ts';
import { perfEventOutput, ringbufOutput, ringbufReserve } from '../helpers.ts';
import { layoutOf, u64 } from '../layout.ts';
import type { MapSpec } from '../map.ts';
import { r0 } from '../registers.ts';
import { type Calls, requireLayout } from './calls.ts';
import { writeEventType } from './event-type.ts';
import { Branch } from './flow.ts';
import type { Machine } from './machine.ts';
import { memory } from './memory.ts';
import { type Place, placeOf, type StructMemory } from './place.ts';
import { Reservation } from './reservation.ts';
import type { Value } from './value.ts';

/**
 * Emits the call that sends an event: `args` are those of `b.output` after the map. Writes the number of its
 * type first, if the map has several.
 */
export function emitOutput(
  machine: Machine,
  calls: Calls,
  events: EventsSpec,
  args: readonly unknown[],
): Value {
  const variant = variantOf(events, args[0]);
  const [event, flags = 0] = args.slice(variant ? 1 : 0) as [Place | StructMemory, number?];
  if (variant) {
    requireLayout(events, [variant.schema], event);
    writeEventType(placeOf(event), variant.number);
  }
  if (!isRingBuffer(events)) {
    if (flags !== 0)
      throw new TypeError(
        `map ${events.name} is a perf event array, whose reader the kernel wakes: flags are for ring buffers`,
      );
    return calls.helper(perfEventOutput, [events, BPF_F_CURRENT_CPU, event]);
  }
  const result = calls.helper(ringbufOutput, [events, event, flags]);
  const sent = machine.freshLabel('sent');
  machine.emit(insn.jeq(r0, 0, sent));
  countLost(machine, events);
  machine.emit(insn.label(sent));
  return result;
}

/** A record of a ring buffer in the arm in which it is reserved. */
export class ReservedRecord {
  readonly branch: Branch;
  readonly #machine: Machine;
  readonly #events: RingBufferSpec;
  readonly #record: Reservation;
  readonly #memory: Place | StructMemory;

  /** Emits the call and the branch. `type` is the name of the event type, if the map has several. */
  constructor(machine: Machine, calls: Calls, events: RingBufferSpec, type: unknown) {
    if (!isRingBuffer(events))
      throw new TypeError(
        `b.reserve needs a ring buffer, not ${(events as MapSpec).name}: use b.output, which copies the event`,
      );
    const variant = variantOf(events, type);
    const schema = variant?.schema ?? (events.event as TSchema);
    const { name } = events;
    const { size } = layoutOf(schema);
    const record = new Reservation(name, size, machine.position, variant?.number);
    const pointer = calls.helper(ringbufReserve, [events, size, 0]);
    this.#machine = machine;
    this.#events = events;
    this.#record = record;
    this.#memory = memory(machine, pointer, 0, schema, name, { tracked: record, record });
    this.branch = new Branch(machine, pointer.ne(0));
  }

  /** Begins the arm of the record. Returns its memory. */
  reserved(): Place | StructMemory {
    this.#machine.reserve(this.#record);
    return this.#memory;
  }

  /** Begins the arm without space: counts the lost event. */
  full(): void {
    this.#machine.at(this.branch.position, () => countLost(this.#machine, this.#events));
  }
}

/** Counts a lost event of a ring buffer. Overwrites no register that holds a value. */
function countLost(machine: Machine, { lost }: RingBufferSpec): void {
  machine.withScratch(() => {
    const [count, one] = [machine.scratch(), machine.scratch()];
    machine.emit(insn.loadMapValue(count, lost), insn.mov(one, 1), insn.atomic.add(u64, count, 0, one));
  });
}

/** The event type that a statement names. @throws {TypeError} if it must name one, or if there is none. */
function variantOf(events: EventsSpec, type: unknown): NumberedVariant | undefined {
  if (typeof type === 'string') return variantNamed(events, type);
  const names = Object.keys(events.variants);
  if (names.length === 0) return undefined;
  throw new TypeError(
    `map ${events.name} has several event types: name one of ${names.join(', ')} before the event`,
  );
}
