/**
 * Shows how long threads that are ready wait for a CPU, as a histogram each second.
 *
 *     npx tsx examples/runqlat.ts
 */
import {
  array,
  type Builder,
  hash,
  Kernel,
  ktimeGetNs,
  rawTracepoint,
  Session,
  s32,
  target,
  u64,
  u64n,
} from 'tsbpf';

const kernel = new Kernel();
const on = target(process.arch, kernel.btf);
const ready = hash('ready', { key: s32, value: u64, maxEntries: 10_240 });
/** In slot n the waits of 2^n microseconds to twice as long; in the first also those that were shorter. */
const waits = array('waits', { value: u64n, maxEntries: 32 });

const thread = (b: Builder, argument: number) =>
  b.stack(s32, b.kernel('task_struct', b.arg(argument)).fields({ pid: 'pid' }).pid);

// sched_wakeup(struct task_struct *p)
const onReady = (b: Builder) => {
  b.update(ready, thread(b, 0), b.call(ktimeGetNs));
};

// sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next)
const onSwitch = (b: Builder) => {
  const next = thread(b, 2);
  b.lookup(ready, next, {
    found: (since) => {
      const start = b.keep(since);
      b.count(waits, b.call(ktimeGetNs).sub(start).div(1000).log2());
      b.delete(ready, next);
    },
  });
};

const programs = [
  rawTracepoint('sched_wakeup', on, onReady),
  rawTracepoint('sched_wakeup_new', on, onReady),
  rawTracepoint('sched_switch', on, onSwitch),
];

/** What was shown already: the counts only grow, so that none is lost. */
const shown = new Map<number, number>();

function print(): void {
  const counts = [...session.map(waits).entries()].flatMap(([slot, total]) => {
    const count = total - (shown.get(slot) ?? 0);
    shown.set(slot, total);
    return count > 0 ? [{ range: `${slot && 2 ** slot} to ${2 ** (slot + 1) - 1}`, count }] : [];
  });
  const most = Math.max(...counts.map(({ count }) => count));
  console.log('\nWAIT (us)            COUNT');
  for (const { range, count } of counts)
    console.log(
      `${range.padEnd(20)} ${String(count).padEnd(9)} ${'*'.repeat((40 * count) / most)}`.trimEnd(),
    );
}

const session = Session.open({ name: 'runqlat', programs }, { kernel, onTick: print });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => session.close());
