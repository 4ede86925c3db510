import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Value } from '../../src/asm/builder/value.ts';
import { perfEventArray, ringBuffer } from '../../src/asm/events.ts';
import { BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP } from '../../src/asm/flags.ts';
import {
  getCurrentComm,
  getCurrentPidTgid,
  getSmpProcessorId,
  ktimeGetNs,
  ringbufQuery,
} from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { bytes, chars, struct, u32, u64n } from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { getuidProcess, until } from '../loader/tools.ts';

const test = suite('live/ring-buffer', { seconds: 60 });

/** `__NR_getuid`. */
const GETUID = process.arch === 'arm64' ? 174 : 102;

const PAGE_BYTES = 65_536;
const Event = struct({ sequence: u64n, pid: u32, cpu: u32 });
const calls = () => array('calls', { value: u64n });

/** A program that runs `body` at each getuid() of some processes, with the number of the call and the PID. */
function onGetuid(
  pids: readonly number[],
  counts: ReturnType<typeof calls>,
  body: (b: Builder, sequence: Value, pid: Value) => void,
  keeps = true,
): ProgramSpec {
  return rawTracepoint('sys_enter', target(process.arch), (b) => {
    b.if(b.arg(1).ne(GETUID), () => b.exit());
    b.keep(b.context);
    const pid = b.keep(b.call(getCurrentPidTgid).rsh(32));
    b.switch(pid, [[pids, () => {}]], () => b.exit());
    b.lookup(counts, 0, {
      found: (count) => {
        count.atomicAdd(1);
        body(b, keeps ? b.keep(count) : count.get(), pid);
      },
    });
  });
}

const getuid = (times = 1) => {
  for (let call = 0; call < times; call++) process.getuid?.();
};

test.skipIf(needsRoot, 'events of output and reserve arrive once, in order and without delay', async () => {
  const events = ringBuffer('events', Event, { bytes: PAGE_BYTES });
  const program = onGetuid([process.pid], calls(), (b, sequence, pid) => {
    const event = b.stack(Event);
    event.sequence.set(sequence);
    event.pid.set(pid.as(u32));
    event.cpu.set(0);
    b.output(events, event);
    b.reserve(events, {
      reserved: (memory) => {
        const record = b.keep(memory);
        record.sequence.set(sequence);
        record.pid.set(0);
        record.cpu.set(b.call(getSmpProcessorId));
        b.submit(record);
      },
    });
    b.reserve(events, { reserved: (record) => b.discard(record) });
  });
  const seen: { sequence: number; pid: number }[] = [];
  const session = Session.open(
    { name: 'getuid', programs: [program], events },
    { onEvent: ({ sequence, pid }, cpu) => seen.push({ sequence, pid: cpu ?? pid }) },
  );
  try {
    for (let call = 1; call <= 5; call++) {
      const start = performance.now();
      getuid();
      await until(() => seen.length === 2 * call);
      // No event must wait for the timer, once a second.
      assert.ok(performance.now() - start < 500, `${performance.now() - start} ms`);
    }
    assert.equal(
      seen,
      [1, 2, 3, 4, 5].flatMap((sequence) => [
        { sequence, pid: process.pid },
        { sequence, pid: 0 },
      ]),
    );
    assert.is(session.lost, 0);
  } finally {
    session.close();
  }
});

test.skipIf(needsRoot, 'a full ring buffer loses events of both statements, and every one is counted', () => {
  const events = ringBuffer('events', Event, { bytes: PAGE_BYTES });
  const counts = calls();
  const program = onGetuid([process.pid], counts, (b, sequence) => {
    const event = b.stack(Event);
    event.set(0);
    event.sequence.set(sequence);
    b.if(b.output(events, event).ne(0), () => b.exit());
    b.reserve(events, {
      reserved: (record) => {
        record.set(0);
        b.submit(record);
      },
    });
  });
  let [seen, reported] = [0, 0];
  const session = Session.open(
    { name: 'getuid', programs: [program], events },
    {
      onEvent: () => seen++,
      onLost(count, cpu, map) {
        reported += count;
        assert.is(cpu, undefined);
        assert.is(map, 'events');
      },
    },
  );
  getuid(3000);
  session.detach();
  const total = session.map(counts).lookup(0) ?? 0;
  session.close();
  assert.ok(total >= 3000);
  assert.is(seen, PAGE_BYTES / 24 - ((PAGE_BYTES / 24) % 1));
  // Each call sends two events, or loses one and ends.
  assert.is(session.lost, total - Math.floor(seen / 2));
  assert.is(reported, session.lost);
});

test.skipIf(
  needsRoot,
  'several processes on all CPUs: every event once, each in its order, or counted',
  async () => {
    const CALLS = 60_000 / slowness;
    const children = [getuidProcess(CALLS), getuidProcess(CALLS), getuidProcess(CALLS)];
    const events = ringBuffer('events', Event, { bytes: 1 << 22 });
    const counts = calls();
    const program = onGetuid(
      children.map(({ pid }) => pid),
      counts,
      (b, _sequence, pid) => {
        const now = b.keep(b.call(ktimeGetNs));
        b.reserve(events, {
          reserved: (memory) => {
            const record = b.keep(memory);
            record.sequence.set(now);
            record.pid.set(pid.as(u32));
            record.cpu.set(b.call(getSmpProcessorId));
            b.submit(record);
          },
        });
      },
      false,
    );
    const last = new Map<number, number>();
    const cpus = new Set<number>();
    let [seen, backwards] = [0, 0];
    const session = Session.open(
      { name: 'getuid', programs: [program], events },
      {
        onEvent({ sequence: ns, pid, cpu }) {
          seen++;
          cpus.add(cpu);
          if (ns <= (last.get(pid) ?? 0)) backwards++;
          last.set(pid, ns);
        },
      },
    );
    await Promise.all(children.map((child) => child.go()));
    session.detach();
    const total = session.map(counts).lookup(0) ?? 0;
    session.close();
    assert.ok(total > 0);
    assert.is(seen + session.lost, total);
    assert.is(backwards, 0, 'the events of a process keep their order');
    assert.is(last.size, children.length);
  },
);

test.skipIf(
  needsRoot,
  'events without a wake-up wait for the interval, and a forced wake-up reads them',
  async () => {
    const events = ringBuffer('events', Event, { bytes: PAGE_BYTES });
    const waiting = array('waiting', { value: u64n });
    const program = onGetuid([process.pid], calls(), (b, sequence) => {
      const event = b.stack(Event);
      event.set(0);
      event.sequence.set(sequence);
      const isThird = sequence.and(3).eq(3);
      b.if(
        isThird,
        () => b.output(events, event, BPF_RB_FORCE_WAKEUP),
        () => b.output(events, event, BPF_RB_NO_WAKEUP),
      );
      b.update(waiting, 0, b.call(ringbufQuery, events, BPF_RB_AVAIL_DATA));
    });
    const seen: number[] = [];
    const open = (flushMs?: number) =>
      Session.open(
        { name: 'getuid', programs: [program], events },
        { onEvent: ({ sequence }) => seen.push(sequence), flushMs },
      );
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const session = open();
    try {
      await pause(50);
      getuid(2);
      await pause(50);
      assert.equal(seen, []);
      assert.is(session.map(waiting).lookup(0), 48);
      getuid();
      await until(() => seen.length === 3);
    } finally {
      session.close();
    }
    seen.length = 0;
    const flushed = open(20);
    try {
      await pause(50);
      const start = performance.now();
      getuid();
      await until(() => seen.length === 1);
      assert.ok(performance.now() - start < 900, 'read at the interval');
    } finally {
      flushed.close();
    }
  },
);

test.skipIf(needsRoot, 'a session reads several maps of both kinds, and close delivers everything', () => {
  const variants = { small: struct({ sequence: u64n }), large: struct({ sequence: u64n, fill: bytes(100) }) };
  const ring = ringBuffer('ring', variants, { bytes: 1 << 20 });
  const perf = perfEventArray('perf', variants);
  const program = onGetuid([process.pid], calls(), (b, sequence) => {
    for (const map of [ring, perf]) {
      const small = b.stack(map.variants.small);
      small.sequence.set(sequence);
      b.output(map, 'small', small);
    }
    b.reserve(ring, 'large', {
      reserved: (record) => {
        record.set(0); // clears the type, which submit writes
        record.sequence.set(sequence);
        b.submit(record);
      },
    });
  });
  const seen = { ring: [] as string[], perf: [] as string[] };
  const session = Session.open(
    { name: 'getuid', programs: [program], events: { ring, perf } },
    {
      onEvent: {
        ring: (event) =>
          seen.ring.push(`${event.type} ${event.sequence} ${event.type === 'large' ? event.fill.length : 0}`),
        perf: (event, cpu) => seen.perf.push(`${event.type} ${event.sequence} ${typeof cpu}`),
      },
    },
  );
  getuid(3);
  session.close();
  assert.equal(
    seen.ring,
    [1, 2, 3].flatMap((n) => [`small ${n} 0`, `large ${n} 100`]),
  );
  assert.equal(
    seen.perf,
    [1, 2, 3].map((n) => `small ${n} number`),
  );
  assert.is(session.lost, 0);
});

test.skipIf(needsRoot, 'the verifier accepts records in helpers, subprograms, branches and elements', () => {
  const Rich = struct({ comm: chars(16), words: bytes(32), number: u64n });
  const events = ringBuffer('events', Rich, { bytes: PAGE_BYTES });
  const number = subprogram('number', [Rich, u64n], (_, rich, n) => rich.number.set(n.as(u64n)));
  const program = onGetuid([process.pid], calls(), (b, sequence) => {
    b.reserve(events, {
      reserved: (memory) => {
        const rich = b.keep(memory);
        rich.words.set(0);
        rich.number.set(0);
        b.call(getCurrentComm, rich.comm);
        b.call(number, rich, sequence);
        b.if(
          sequence.gt(1),
          () => b.discard(rich),
          () => b.submit(rich),
        );
      },
      full: () => b.exit(),
    });
  });
  const seen: { comm: string; number: number }[] = [];
  const session = Session.open(
    { name: 'getuid', programs: [program], events },
    { onSample: ({ comm, number }) => seen.push({ comm, number }) },
  );
  getuid(3);
  session.close();
  assert.is(seen.length, 1);
  assert.is(seen[0]?.number, 1);
  assert.ok((seen[0]?.comm.length ?? 0) > 0);
});

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'an idle session uses no CPU, and close leaves no descriptors',
  async () => {
    const events = ringBuffer('events', Event, { bytes: PAGE_BYTES });
    const program = onGetuid([process.pid], calls(), (b) =>
      b.reserve(events, { reserved: (record) => b.discard(record) }),
    );
    const open = () => Session.open({ name: 'getuid', programs: [program], events }, { onEvent: () => {} });
    const descriptors = () => readdirSync('/proc/self/fd').length;
    open().close();
    const before = descriptors();
    const session = open();
    getuid(10); // discarded events only
    try {
      await new Promise((resolve) => setTimeout(resolve, 200));
      const usage = process.cpuUsage();
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const { user, system } = process.cpuUsage(usage);
      assert.ok(user + system < 100_000 * slowness, `${(user + system) / 1000} ms of 2 s`);
    } finally {
      session.close();
    }
    assert.is(descriptors(), before);
  },
);

test.run();
