/**
 * The connects of a run by time. The number of time slots is bounded: when a run becomes too long, slots
 * become wider and neighbors merge, which is exact. Slots begin at multiples of their width, so they align
 * with the clock.
 */
import { Latencies } from '../aggregate/latencies.ts';

/** The most slots. */
export const MAX_SLOTS = 480;

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
/** The widths in ms. Each is a multiple of the one before. */
const WIDTHS = [
  ...[100, 200, SECOND, 2 * SECOND, 10 * SECOND, 20 * SECOND, 60 * SECOND, 120 * SECOND, 600 * SECOND],
  ...[1200 * SECOND, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 10 * DAY, 100 * DAY, 1000 * DAY],
  ...[10_000 * DAY, 100_000 * DAY],
];

/** The connects that ended in one slot. */
export class TimeSlot {
  /** The latencies of answered connects. */
  readonly answered = new Latencies();
  /** The number of connects by result. */
  readonly results = new Map<string, number>();
  retransmits = 0;

  add(other: TimeSlot): void {
    this.answered.add(other.answered);
    for (const [result, count] of other.results)
      this.results.set(result, (this.results.get(result) ?? 0) + count);
    this.retransmits += other.retransmits;
  }
}

export class TimeSlots {
  #slots = new Map<number, TimeSlot>();
  #width = 0;
  /** The numbers of the first and the last slot. A slot begins at its number times the width. */
  #first = Number.POSITIVE_INFINITY;
  #last = Number.NEGATIVE_INFINITY;

  /** The width of a slot in ms. */
  get widthMs(): number {
    return WIDTHS[this.#width] as number;
  }

  /** When the first slot begins, in ms since the epoch. */
  get startMs(): number {
    return this.#first * this.widthMs;
  }

  /** The slots from the first to the last; undefined for those without connects. */
  slots(): (TimeSlot | undefined)[] {
    const count = Math.max(0, this.#last - this.#first + 1);
    return Array.from({ length: count }, (_, i) => this.#slots.get(this.#first + i));
  }

  /** Includes a time, in ms since the epoch, in the range of the slots. */
  include(timeMs: number): void {
    const number = Math.floor(timeMs / this.widthMs);
    this.#first = Math.min(this.#first, number);
    this.#last = Math.max(this.#last, number);
    while (this.#last - this.#first >= MAX_SLOTS) this.#widen();
  }

  /** The slot of a time, in ms since the epoch. */
  at(timeMs: number): TimeSlot {
    const number = Math.floor(timeMs / this.widthMs);
    if (number < this.#first || number > this.#last) this.include(timeMs);
    const inRange = Math.floor(timeMs / this.widthMs);
    let slot = this.#slots.get(inRange);
    if (!slot) {
      slot = new TimeSlot();
      this.#slots.set(inRange, slot);
    }
    return slot;
  }

  /** Makes slots wider until at most `count` are left, or each has `connects` of all of them on average. */
  coarsen(count: number, connects: number, all: number): void {
    const length = () => this.#last - this.#first + 1;
    while (length() > count && all / length() < connects) this.#widen();
  }

  #widen(): void {
    const before = this.widthMs;
    this.#width += 1;
    const factor = this.widthMs / before;
    const merged = new Map<number, TimeSlot>();
    for (const [number, slot] of this.#slots) {
      const wider = Math.floor(number / factor);
      const known = merged.get(wider);
      if (known) known.add(slot);
      else merged.set(wider, slot);
    }
    this.#slots = merged;
    this.#first = Math.floor(this.#first / factor);
    this.#last = Math.floor(this.#last / factor);
  }
}
