import * as assert from 'uvu/assert';
import { cpuChanges, growth, type Losses, noLosses } from '../../../src/cli/trace/losses.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/trace/losses');

test('nothing lost, nothing to tell', () => {
  assert.equal(growth(noLosses(), noLosses()), []);
});

const sentences: [keyof Losses, string][] = [
  ['events', '7 events lost: the rings were full (--pages makes them larger)'],
  ['tableFull', '7 connects not traced: too many were in flight'],
  ['negative', '7 latencies below zero not shown: the clocks of two CPUs disagree'],
  ['lines', '7 lines dropped: the output was read too slowly'],
  ['unrecorded', '7 events not recorded: the recording was read too slowly'],
  [
    'missedRuns',
    '7 runs of the programs skipped by the kernel (busy with another program or probe): connects may be missing',
  ],
];
for (const [cause, sentence] of sentences)
  test(`${cause}: ${sentence}`, () => {
    assert.equal(growth({ ...noLosses(), [cause]: 7 }, noLosses()), [sentence]);
  });

test('what was told before is told no more: only what has come since', () => {
  const before = { ...noLosses(), events: 10, lines: 3 };
  assert.equal(growth(before, before), []);
  assert.equal(growth({ ...before, events: 12 }, before), [
    '2 events lost: the rings were full (--pages makes them larger)',
  ]);
});

test('a count that is read lower than before says nothing', () => {
  assert.equal(growth(noLosses(), { ...noLosses(), missedRuns: 1 }), []);
});

test('each cause has a sentence of its own', () => {
  const all = Object.fromEntries(Object.keys(noLosses()).map((key) => [key, 1])) as unknown as Losses;
  assert.is(new Set(growth(all, noLosses())).size, sentences.length);
  assert.is(Object.keys(noLosses()).length, sentences.length);
});

test('CPUs that come and go are told with what may be missing of them', () => {
  assert.equal(cpuChanges({ online: [2, 3], offline: [1, 3], gapMs: 1010 }), [
    'CPU 1 went offline: what was answered there is shown',
    'CPU 2 came online: connects answered there in the last 1.1 s may be missing',
    'CPU 3 went offline and came back: connects answered there in the last 1.1 s may be missing',
  ]);
});

test.run();
