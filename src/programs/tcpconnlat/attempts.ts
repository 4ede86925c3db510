/**
 * Connects in flight: the table of them, and what is sent when one ends.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Block, Memory } from '../../asm/builder/memory.ts';
import type { Operand } from '../../asm/builder/operand.ts';
import type { Place } from '../../asm/builder/place.ts';
import {
  getCurrentCgroupId,
  getCurrentComm,
  getCurrentPidTgid,
  getCurrentUidGid,
  ktimeGetNs,
} from '../../asm/helpers.ts';
import { type StructSchema, s64, u64 } from '../../asm/layout.ts';
import { array, BPF_NOEXIST, hash, type MapSpec, perfEventArray } from '../../asm/map.ts';
import type { ProgramSpec } from '../../asm/program.ts';
import { type Answer, countersOf } from './events.ts';
import type { ConnectFilter, Ends } from './filter.ts';
import { EEXIST } from './kernel.ts';
import type { Options } from './options.ts';

/** Writes into an event what it takes from where the kernel is watched. */
export type Fill = (event: Memory<StructSchema<Answer>>) => void;

/** Looks at an attempt that may have ended: skips it, `fail`s it as one that is counted and not sent, or gives what fills the event. */
export type Look = (skip: () => void, fail: () => void) => Fill;

/** Programs in the order in which they are attached: what clears the table before what fills it. */
export interface Attached {
  readonly programs: readonly ProgramSpec[];
  /** Maps besides those of the attempts. */
  readonly maps: readonly MapSpec[];
}

/** What `attemptsOf` gives. */
export type Attempts = ReturnType<typeof attemptsOf>;

/**
 * The maps of a tool, and the statements that note an attempt, and send and forget it. `countsFailures`: whether the programs count the
 * connects that fail and are not sent.
 */
export function attemptsOf(
  { minNs, who, maxAttempts = 10_240 }: Options,
  Event: StructSchema<Answer>,
  filter: ConnectFilter,
  countsFailures: boolean,
) {
  const Attempt = Event.properties.attempt;
  const table = hash('attempts', { key: u64, value: Attempt, maxEntries: maxAttempts });
  const counters = array('counters', { value: countersOf(countsFailures) });
  const events = perfEventArray('events');
  return {
    table,
    counters,
    events: { map: events, schema: Event },
    filter,
    countsFailures,
    maps: [table, counters, ...filter.maps, events],

    /**
     * Notes that the current process begins to connect `socket`, if the filter takes that. `ends` reads what is known of it already;
     * `again` is for a socket whose attempt before hasn't been forgotten.
     */
    begin(b: Builder, socket: Place, ends: () => Ends, again?: () => void): void {
      const attempt = b.stack(Attempt);
      const task = b.call(getCurrentPidTgid);
      b.set(attempt.task, task);
      filter.process(b, task);
      filter.user(b);
      filter.ends(b, ends());
      filter.cgroup(b);
      const named = filter.name(b, attempt.comm);
      attempt.startNs.set(b.call(ktimeGetNs));
      if (!named) b.call(getCurrentComm, attempt.comm);
      if (who) {
        b.set(attempt.user, b.call(getCurrentUidGid));
        attempt.cgroup.set(b.call(getCurrentCgroupId));
      }
      if (again) this.noteAnew(b, socket, attempt, again);
      else this.note(b, table, socket, attempt);
    },

    /** Writes the entry of an attempt, and calls `again` first if the socket has one. Only such a socket costs more. */
    noteAnew(b: Builder, socket: Place, attempt: Block, again: () => void): void {
      const failed = b.update(table, socket, attempt, BPF_NOEXIST);
      b.if(failed.ne(0), () =>
        b.if(
          failed.eq(-EEXIST),
          () => {
            again();
            b.update(table, socket, attempt);
          },
          () => this.countFull(b),
        ),
      );
    },

    /** Counts an attempt that found no room in a table. */
    countFull(b: Builder): void {
      b.global(counters).tableFull.atomicAdd(1);
    },

    /** Counts an attempt that has failed and isn't sent. */
    countFailure(b: Builder): void {
      b.global(counters).failed.atomicAdd(1);
    },

    /** Writes an entry of a table, and counts it where there is no room. */
    note(b: Builder, map: MapSpec, key: Operand, value: Block): void {
      const failed = b.update(map, key, value);
      b.if(failed.ne(0), () => this.countFull(b));
    },

    /** Sends what became of the attempt to connect `socket`, unless `look` skips it, and forgets it. */
    end(b: Builder, socket: Place, look: Look): void {
      b.lookup(table, socket, {
        missing: () => b.exit(),
        found: (entry) => {
          const attempt = b.keep(entry);
          b.block((skip) => {
            const fail = () => {
              if (minNs) b.if(b.call(ktimeGetNs).sub(attempt.startNs).lt(minNs), skip);
              this.countFailure(b);
              skip();
            };
            const fill = look(skip, countsFailures ? fail : skip);
            const event = b.stack(Event);
            const latency = b.call(ktimeGetNs).sub(attempt.startNs);
            if (minNs) b.if(latency.lt(minNs), skip);
            event.latencyNs.set(latency.as(s64));
            b.set(event.attempt, attempt);
            fill(event);
            b.output(events, event);
          });
          b.delete(table, socket);
        },
      });
    },
  };
}
