/**
 * The schema of an events map types `b.output`, `Tool.events` and `onEvent`. Compiled by `npm run
 * check`, never run.
 */
import {
  perfEventArray,
  rawTracepoint,
  ringBuffer,
  Session,
  type SessionOptions,
  type Static,
  struct,
  type Tool,
  target,
  u32,
  u64,
} from 'tsbpf';
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

const Open = struct({ flags: u32 });
const Close = struct({ ns: u64 });
const files = ringBuffer('files', { open: Open, close: Close }, { bytes: 65_536 });
const ring = ringBuffer('ring', Exec, { bytes: 65_536 });

rawTracepoint('sys_enter', target('x64'), (b) => {
  b.output(ring, b.stack(Exec), 1);
  b.output(files, 'open', b.stack(files.variants.open));
  // @ts-expect-error: no event type of that name
  b.output(files, 'read', b.stack(files.variants.open));
  // @ts-expect-error: the memory of another event type
  b.output(files, 'open', b.stack(files.variants.close));
  // @ts-expect-error: a struct without the type
  b.output(files, 'open', b.stack(Open));
  // @ts-expect-error: the event type is missing
  b.output(files, b.stack(files.variants.open));
  b.reserve(ring, {
    reserved(exec) {
      exec.ns.set(1);
      // @ts-expect-error: no field of the schema
      exec.port;
      b.submit(exec);
    },
  });
  b.reserve(files, 'close', { reserved: (close) => close.ns.set(1), full: () => b.exit() });
  // @ts-expect-error: no field of this event type
  b.reserve(files, 'close', { reserved: (close) => close.flags.set(1) });
  // @ts-expect-error: a perf event array has no memory to reserve
  b.reserve(events, { reserved: () => {} });
});

Session.open(
  { name: 'files', programs: [], events: files },
  {
    onEvent(event, cpu) {
      holds<Same<typeof cpu, undefined>>();
      if (event.type === 'open') holds<Same<typeof event.flags, number>>();
      else holds<Same<typeof event.ns, bigint>>();
      // @ts-expect-error: only one of the event types has it
      event.flags;
    },
    onLost: (_count, cpu) => holds<Same<typeof cpu, undefined>>(),
  },
);

Session.open(
  { name: 'both', programs: [], events: { execs: events, files } },
  {
    onEvent: {
      execs: ({ pid }, cpu) => {
        holds<Same<typeof pid, number>>();
        holds<Same<typeof cpu, number>>();
      },
      files: ({ type }) => holds<Same<typeof type, 'open' | 'close'>>(),
    },
    onLost: (_count, cpu) => holds<Same<typeof cpu, number | undefined>>(),
  },
);

// @ts-expect-error: no events map of that name
Session.open({ name: 'both', programs: [], events: { files } }, { onEvent: { execs: () => {} } });
// @ts-expect-error: several events maps need a handler for each
Session.open({ name: 'both', programs: [], events: { files } }, { onEvent: () => {} });

const options: Partial<SessionOptions<typeof files>> = { flushMs: 100 };
const tool: Tool = { name: 'any', programs: [], events: { files, ring } };
Session.open(tool, {
  onEvent: { files: (event, cpu) => [event, cpu] },
  ...(options.kernel && { kernel: options.kernel }),
});

// @ts-expect-error: the size is missing
ringBuffer('ring', Exec);
// @ts-expect-error: an event type that is not a struct
ringBuffer('ring', { open: u32 }, { bytes: 65_536 });
