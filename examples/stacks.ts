/**
 * Counts the stacks with which the threads of a process leave the CPU, and prints the most frequent ones at
 * the end.
 *
 *     npx tsx examples/stacks.ts PID [SECONDS]
 */
import {
  type Builder,
  frameText,
  getCurrentPidTgid,
  hash,
  Kernel,
  rawTracepoint,
  Session,
  Symbolizer,
  s32,
  stackTrace,
  struct,
  target,
  u64n,
} from 'tsbpf';

const [pid, seconds = 10] = process.argv.slice(2).map(Number);
if (!Number.isInteger(pid)) throw new RangeError('usage: npx tsx examples/stacks.ts PID [SECONDS]');

const kernel = new Kernel();
const Stacks = struct({ kernel: s32, user: s32 });
const stacks = stackTrace('stacks', { maxEntries: 16_384 });
const counts = hash('counts', { key: Stacks, value: u64n, maxEntries: 16_384 });

const onSwitch = (b: Builder) => {
  b.keep(b.context);
  b.if(
    b
      .call(getCurrentPidTgid)
      .rsh(32)
      .ne(pid as number),
    () => b.exit(),
  );
  const key = b.stack(Stacks);
  key.kernel.set(b.stackId(stacks));
  key.user.set(b.stackId(stacks, { user: true }));
  b.count(counts, key);
};

const programs = [rawTracepoint('sched_switch', target(process.arch, kernel.btf), onSwitch)];
const session = Session.open({ name: 'stacks', programs }, { kernel });

function print(): void {
  session.detach();
  const symbolizer = new Symbolizer(kernel);
  const app = symbolizer.process(pid as number);
  const most = [...session.map(counts).entries()].sort(([, a], [, b]) => b - a).slice(0, 10);
  for (const [key, count] of most) {
    const inKernel = symbolizer.kernelFrames(session.map(stacks).stack(key.kernel) ?? []);
    const inProcess = app.frames(session.map(stacks).stack(key.user) ?? []);
    console.log(`\n${count} times`);
    for (const frame of [...inKernel, ...inProcess]) console.log(`    ${frameText(frame)}`);
  }
  session.close();
}

const timer = setTimeout(print, seconds * 1000);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    clearTimeout(timer);
    print();
  });
console.log(`counting for ${seconds} s`);
