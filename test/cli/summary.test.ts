import * as assert from 'uvu/assert';
import { type Counts, summary } from '../../src/cli/summary.ts';
import { suite } from '../harness.ts';

const test = suite('cli/summary');

const EXPECTED: readonly [text: string, tally: Counts, outcome?: 'all' | 'failures'][] = [
  ['0 connects shown; 0 failed and were not shown', { shown: 0, failed: 0 }],
  ['1 connect shown; 1 failed and was not shown (--failed shows them)', { shown: 1, failed: 1 }],
  ['12 connects shown; 3 failed and were not shown (--failed shows them)', { shown: 12, failed: 3 }],
  ['12 connects shown', { shown: 12 }, 'all'],
  ['12 failed connects shown', { shown: 12 }, 'failures'],
  ['1 failed connect shown', { shown: 1, unanswered: 0 }, 'failures'],
  ['2 connects shown; failures are not counted', { shown: 2, uncounted: 'failures are not counted' }],
  [
    '2 connects shown; 0 failed and were not shown; 4 not answered yet',
    { shown: 2, failed: 0, unanswered: 4 },
  ],
  [
    '2 connects shown; 1 not answered yet, or failed with the socket still open',
    { shown: 2, unanswered: 1, mayHaveFailed: true },
  ],
  ['2 connects shown', { shown: 2, unanswered: 0, mayHaveFailed: true }],
  ['2 connects shown; 7 not selected', { shown: 2, notSelected: 7 }],
  ['2 connects shown', { shown: 2, notSelected: 0, surplus: 0 }],
  ['2 connects shown; 3 came after the last line', { shown: 2, surplus: 3 }],
];

for (const [text, tally, outcome] of EXPECTED)
  test(text, () => {
    assert.is(summary({ outcome }, tally), text);
  });

test.run();
