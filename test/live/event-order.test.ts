/** The order of events of several CPUs, and wake-ups that adapt to their rate. */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { perfEventArray } from '../../src/asm/events.ts';
import { getCurrentPidTgid, ktimeGetNs } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { struct, u32, u64, u64n } from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, slowness, suite } from '../harness.ts';
import { getuidProcess, getuidTool, until } from '../loader/tools.ts';

const test = suite('live/event-order', { seconds: 60 });

const Call = struct({ ns: u64, pid: u32, inner: u32 });
/** `__NR_getuid`. */
const GETUID = process.arch === 'arm64' ? 174 : 102;
const CALLS = 40_000 / slowness;

/**
 * At each getuid() of two processes: the event of an inner program, between the time that the outer one takes
 * and its output, as an interrupt would cause it.
 */
function nested(pids: readonly [number, number], timestamp?: 'ns') {
  const events = perfEventArray('events', Call, { timestamp });
  const calls = array('calls', { value: u64n });
  const program = rawTracepoint('sys_enter', target(process.arch), (b) => {
    b.if(b.arg(1).ne(GETUID), () => b.exit());
    b.keep(b.context);
    const pid = b.keep(b.call(getCurrentPidTgid).rsh(32).as(u32));
    b.if(pid.ne(pids[0]), () => b.if(pid.ne(pids[1]), () => b.exit()));
    b.global(calls).atomicAdd(1);
    const [outer, inner] = [b.stack(Call), b.stack(Call)];
    for (const [call, number] of [
      [outer, 0],
      [inner, 1],
    ] as const) {
      call.inner.set(number);
      call.pid.set(pid);
      call.ns.set(b.call(ktimeGetNs));
    }
    b.output(events, inner);
    b.output(events, outer);
  });
  return { name: 'nested', programs: [program], maps: [calls], events, calls };
}

for (const timestamp of ['ns', undefined] as const)
  test.skipIf(
    needsRoot,
    `a flood of nested programs on several CPUs comes in the order of ${timestamp ? 'their times' : 'their output'}`,
    async () => {
      const children = [getuidProcess(CALLS), getuidProcess(CALLS)] as const;
      const tool = nested([children[0].pid, children[1].pid], timestamp);
      const times: bigint[] = [];
      const cpus = new Set<number>();
      const inners: number[] = [];
      let lost = 0;
      const session = Session.open(tool, {
        pagesPerCpu: 1024,
        onEvent({ ns, inner }, cpu) {
          times.push(ns);
          inners.push(inner);
          cpus.add(cpu);
        },
        onLost: (count) => {
          lost += count;
        },
      });
      try {
        await Promise.all(children.map((child) => child.go()));
        const calls = session.map(tool.calls).lookup(0) ?? 0;
        session.detach();
        assert.ok(calls >= CALLS, `${calls} calls`);
        assert.is(times.length + lost, 2 * calls);
        let latest = 0n;
        let late = 0;
        for (const ns of times) {
          if (ns < latest) late++;
          else latest = ns;
        }
        if (timestamp) assert.is(session.outOfOrder, late);
        else {
          // Each outer event has an earlier time than its inner one, and its output is later.
          assert.ok(late >= calls * 0.9 - lost, `${late} of ${calls}`);
          assert.ok(inners[0] === 1);
        }
        // An output is late only if it was interrupted for as long as a look at the rings takes.
        assert.ok(session.outOfOrder <= times.length / 100, `${session.outOfOrder} of ${times.length} late`);
        assert.ok(cpus.size > 0);
      } finally {
        session.close();
      }
    },
  );

/** How often this thread has waited for an event. */
function waits(): number {
  const status = readFileSync(`/proc/self/task/${process.pid}/status`, 'latin1');
  return Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1]);
}

test.skipIf(
  needsRoot,
  'a flood wakes the reader rarely, and before and after it each event does',
  async () => {
    const FLOOD = 100_000 / slowness;
    const child = getuidProcess(FLOOD);
    const delays: number[] = [];
    let sent = 0;
    let seen = 0;
    const own = Session.open(getuidTool(process.pid), {
      onEvent() {
        delays.push(performance.now() - sent);
      },
    });
    // Rings that hold the whole flood: on a busy machine the reader may get no time until it is over.
    const flood = Session.open(getuidTool(child.pid), { pagesPerCpu: 2048, onEvent: () => seen++ });
    /** The median delay of events that come one by one, in ms. */
    const delay = async () => {
      delays.length = 0;
      for (let event = 1; event <= 21; event++) {
        await new Promise((resolve) => setTimeout(resolve, 7));
        sent = performance.now();
        process.getuid?.();
        await until(() => delays.length === event);
      }
      return delays.sort((a, b) => a - b)[10] as number;
    };
    try {
      await delay();
      const before = await delay();
      const begin = waits();
      await child.go();
      await until(() => seen + flood.lost >= FLOOD);
      const woken = waits() - begin;
      assert.ok(woken < FLOOD / 50, `${woken} wake-ups for ${FLOOD} events`);
      assert.is(flood.lost, 0);
      // The flood's own process sends nothing now. This one was never busy.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const after = await delay();
      assert.ok(after < 5 * slowness + 2 * before, `${after} ms after the flood, ${before} ms before`);
    } finally {
      own.close();
      flood.close();
    }
  },
);

test.skipIf(needsRoot, 'wake-ups switch forth and back many times, and no event is lost', async () => {
  let seen = 0;
  let last = 0;
  const session = Session.open(getuidTool(process.pid), {
    onEvent({ sequence }) {
      assert.is(sequence, ++last);
      seen++;
    },
  });
  let sent = 0;
  try {
    for (let round = 0; round < 8; round++) {
      for (let burst = 0; burst < 40; burst++) {
        for (let call = 0; call < 20; call++, sent++) process.getuid?.();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await new Promise((resolve) => setTimeout(resolve, 250));
      process.getuid?.();
      sent++;
      const begin = performance.now();
      await until(() => seen === sent);
      assert.ok(performance.now() - begin < 500, 'the sweep, once a second, is not what reads it');
    }
    assert.is(session.lost, 0);
    assert.is(session.outOfOrder, 0);
  } finally {
    session.close();
  }
});

test.run();
