import * as assert from 'uvu/assert';
import { cpuChanges, growth, type Losses, noLosses } from '../../../src/cli/trace/losses.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/trace/losses');

test('without losses there are no messages', () => {
  assert.equal(growth(noLosses(), noLosses()), []);
});

const messages: [Exclude<keyof Losses, 'failedUpdates'>, string][] = [
  ['events', '7 events lost (ring buffer full; increase --pages)'],
  ['negative', '7 latencies below zero not shown (the clocks of two CPUs disagree)'],
  ['lines', '7 lines dropped (the reader of the output is too slow)'],
  ['unrecorded', '7 events not recorded (the reader of the recording is too slow)'],
  [
    'missedRuns',
    '7 program runs skipped by the kernel (busy with another program or probe); connects may be missing',
  ],
];
for (const [cause, message] of messages)
  test(`${cause}: ${message}`, () => {
    assert.equal(growth({ ...noLosses(), [cause]: 7 }, noLosses()), [message]);
  });

for (const [errno, reason] of [
  [Errno.E2BIG, 'too many in flight; increase --max-connects'],
  [Errno.EBUSY, 'EBUSY: their CPU was already updating the table; run fewer tracers at once'],
  [
    Errno.EDEADLK,
    'EDEADLK: waiting for the lock of the table would have deadlocked; run fewer tracers at once',
  ],
  [Errno.ENOMEM, 'ENOMEM from the table of connects in flight; try another --probe'],
  [0, 'an unexpected error from the table of connects in flight; try another --probe'],
] as const)
  test(`errno ${errno} of the table: ${reason}`, () => {
    const failedUpdates = new Array<number>(128).fill(0);
    failedUpdates[errno] = 7;
    const losses = { ...noLosses(), failedUpdates };
    assert.equal(growth(losses, noLosses()), [`7 connects not traced (${reason})`]);
    assert.equal(growth(losses, losses), []);
  });

test('only the growth since the last report is reported', () => {
  const before = { ...noLosses(), events: 10, lines: 3 };
  assert.equal(growth(before, before), []);
  assert.equal(growth({ ...before, events: 12 }, before), [
    '2 events lost (ring buffer full; increase --pages)',
  ]);
});

test('a count that has decreased is not reported', () => {
  assert.equal(growth(noLosses(), { ...noLosses(), missedRuns: 1 }), []);
});

test('each cause has its own message', () => {
  const all = Object.fromEntries(Object.keys(noLosses()).map((key) => [key, 1])) as unknown as Losses;
  const failedUpdates = Array.from({ length: 128 }, (_, errno) => (errno % 7 === 0 ? 1 : 0));
  const rejections = failedUpdates.filter((count) => count > 0).length;
  assert.is(new Set(growth({ ...all, failedUpdates }, noLosses())).size, messages.length + rejections);
  assert.is(Object.keys(noLosses()).length, messages.length + 1);
});

test('CPUs that go offline or come online are reported, with the connects that may be missing', () => {
  assert.equal(cpuChanges({ online: [2, 3], offline: [1, 3], gapMs: 1010 }), [
    'CPU 1 went offline; connects answered there until then are shown',
    'CPU 2 came online; connects answered there in the last 1.1 s may be missing',
    'CPU 3 went offline and came back; connects answered there in the last 1.1 s may be missing',
  ]);
});

test.run();
