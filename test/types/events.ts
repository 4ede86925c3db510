/**
 * The schema of a perf event array types `b.output`, `Tool.events` and `onEvent`. Compiled by `npm run
 * check`, never run.
 */
import { perfEventArray, rawTracepoint, Session, type Static, struct, target, u32, u64 } from 'tsbpf';
import { holds, type Same } from './same.ts';

const Exec = struct({ pid: u32, ns: u64 });
const Other = struct({ port: u32 });
const events = perfEventArray('events', Exec);
const numbers = perfEventArray('numbers', u64);

holds<Same<Static<typeof events.event>, { pid: number; ns: bigint }>>();

rawTracepoint('sys_enter', target('x64'), (b) => {
  b.output(events, b.stack(Exec));
  b.output(numbers, b.stack(u64, 1));
  // @ts-expect-error: the memory of another struct
  b.output(events, b.stack(Other));
  // @ts-expect-error: a number in memory for a struct
  b.output(events, b.stack(u64));
  // @ts-expect-error: a number in a register, which no helper sends
  b.output(numbers, b.value(1));
  // @ts-expect-error: a map that carries no events
  b.output({ ...events, type: 1 }, b.stack(Exec));
});

Session.open(
  { name: 'execs', programs: [], events },
  {
    onEvent(event, cpu) {
      holds<Same<typeof event, { pid: number; ns: bigint }>>();
      holds<Same<typeof cpu, number>>();
      // @ts-expect-error: no field of the schema
      event.port;
    },
  },
);

Session.open(
  { name: 'execs', programs: [], events },
  {
    onSample(sample) {
      holds<Same<typeof sample, { pid: number; ns: bigint }>>();
      // @ts-expect-error: no field of the schema
      sample.port;
    },
  },
);

perfEventArray('ordered', Exec, { timestamp: 'ns' });
// @ts-expect-error: a field of 32 bits
perfEventArray('ordered', Exec, { timestamp: 'pid' });
// @ts-expect-error: no field of the schema
perfEventArray('ordered', Exec, { timestamp: 'timeNs' });
// @ts-expect-error: events without fields
perfEventArray('ordered', u64, { timestamp: 'ns' });

// @ts-expect-error: events without a schema
perfEventArray('events');
// @ts-expect-error: the map is the events, without a schema beside it
Session.open({ name: 'execs', programs: [], events: { map: events, schema: Exec } });
