import * as assert from 'uvu/assert';
import { type Counts, countResult, summary } from '../../src/cli/summary.ts';
import { suite } from '../harness.ts';

const test = suite('cli/summary');

const EXPECTED: readonly [
  lines: readonly string[],
  counts: Counts,
  outcome?: 'all' | 'failures',
  pendingMs?: number,
][] = [
  [['0 connects shown'], { shown: 0, failed: 0, belowMin: 0, surplus: 0, outOfOrder: 0 }],
  [['1 connect shown', '  1 failed, not shown (--failed shows them)'], { shown: 1, failed: 1 }],
  [['12 connects shown'], { shown: 12, results: new Map() }, 'all'],
  [['1 failed connect shown'], { shown: 1, unanswered: 0 }, 'failures'],
  [['2 connects shown', '  failures are not counted'], { shown: 2, uncounted: 'failures are not counted' }],
  [
    ['2 connects shown', '  1 not answered yet, or failed with the socket still open (--pending shows them)'],
    { shown: 2, unanswered: 1, mayHaveFailed: true },
  ],
  [
    [
      '900 connects shown',
      '  40 below min_ms',
      '   3 failed, not shown (--failed shows them)',
      '   9 came after the last line',
      '   7 events lost (ring buffer full)',
      '   4 not answered yet (--pending shows them)',
      '   1 shown out of order (the kernel delayed their events)',
      '   5 not selected',
      '  connects without a route are not counted',
    ],
    {
      ...{ shown: 900, belowMin: 40, failed: 3, surplus: 9, unanswered: 4, outOfOrder: 1, notSelected: 5 },
      losses: [
        [7, 'events lost (ring buffer full)'],
        [0, 'lines dropped'],
      ],
      uncounted: 'connects without a route are not counted',
    },
  ],
  [
    [
      '1 connect shown',
      '  2 failed, not shown (--failed shows them)',
      '  7 not selected',
      '  connects below min_ms, failed or not answered are those of all units, pods and namespaces',
    ],
    { shown: 1, failed: 2, notSelected: 7, countsAllCallers: true },
  ],
  [['1 connect shown', '  7 not selected'], { shown: 1, failed: 0, notSelected: 7, countsAllCallers: true }],
  [
    ['20 connects shown', '  22 ended: 11 established, 10 refused, 1 timed-out', '   2 lines dropped'],
    {
      shown: 20,
      results: new Map([
        ['timed-out', 1],
        ['established', 11],
        ['refused', 10],
      ]),
      losses: [[2, 'lines dropped']],
    },
    'all',
  ],
  [
    ['0 connects shown', '  2 shown as pending', '  2 not answered yet (--pending shows their addresses)'],
    { shown: 0, pending: 2, unanswered: 2 },
    'all',
  ],
  [
    ['1 failed connect shown', '  3 not answered yet (--pending shows them)'],
    { shown: 1, unanswered: 3 },
    'failures',
  ],
  [
    ['1 connect shown', '  3 shown as pending', '  2 not answered yet'],
    { shown: 1, pending: 3, unanswered: 2 },
    undefined,
    5000,
  ],
];

for (const [lines, counts, outcome, pendingMs] of EXPECTED)
  test(lines.join('; '), () => {
    assert.equal(summary({ outcome, pendingMs }, counts), lines);
  });

test('results are counted by name, and an unknown result is not', () => {
  const results = new Map<string, number>();
  for (const result of ['refused', undefined, 'established', 'refused']) countResult(results, result);
  assert.equal(
    [...results],
    [
      ['refused', 2],
      ['established', 1],
    ],
  );
});

test.run();
