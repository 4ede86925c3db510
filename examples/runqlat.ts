/**
 * Prints a histogram each second: how long runnable threads wait for a CPU.
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
/** Slot n counts waits from 2^n to 2^(n+1)-1 microseconds; slot 0 also counts shorter waits. */
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

/** The counts that are already printed. The map's counts only grow, so no wait is lost. */
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
