/** Snapshots as tables, histograms and JSON. */
import { Value } from '@sinclair/typebox/value';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { histogram, histograms } from '../../../src/cli/aggregate/histogram.ts';
import { snapshotLines } from '../../../src/cli/aggregate/json.ts';
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import type { Cell, Key, KeyPart, Row, Snapshot } from '../../../src/cli/aggregate/snapshot.ts';
import { summaryTable } from '../../../src/cli/aggregate/table.ts';
import { summarySchema } from '../../../src/cli/json.ts';
import { FIRST_BUCKET, slotOf } from '../../../src/programs/latency-buckets.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/aggregate/views');

/** A row with latencies in ms by result. */
function row(key: Key, results: Readonly<Record<string, readonly number[]>>, retransmits = 0): Row {
  const cells = Object.entries(results).map(([result, values]): [string, Cell] => {
    const latencies = new Latencies();
    for (const ms of values) latencies.record(Math.round(ms * 1e6));
    return [result, { latencies, retransmits }];
  });
  return { key, results: new Map(cells) };
}

function snapshot(...rows: Row[]): Snapshot {
  return {
    startMs: 1_764_374_400_000,
    endMs: 1_764_374_405_000,
    rows,
    slowest: [],
    failed: [],
    overflowed: 0,
    losses: [],
  };
}

function tableOf(...parts: readonly KeyPart[]): (snapshot: Snapshot) => string {
  const format = summaryTable(parts);
  return (of) => format(of).join('');
}

test('a table has a column for each part, each kind of failure, and each percentile', () => {
  const table = tableOf('dest', 'port');
  const text = table(
    snapshot(
      row({ dest: '192.0.2.7', port: '5432' }, { established: [1, 2, 3, 4], refused: [9] }, 2),
      row({ dest: '2001:db8::1', port: '443' }, { 'timed-out': [127_000], EACCES: [1], aborted: [2] }),
    ),
  );
  const [header, first, second, ...more] = text.split('\n').map((line) => line.split(/ +/));
  assert.equal(header, [
    ...['DEST', 'PORT', 'COUNT', 'REFUSED', 'TIMED-OUT', 'ABORTED', 'EACCES', 'RETR'],
    ...['p50(ms)', 'p90(ms)', 'p99(ms)', 'MAX(ms)'],
  ]);
  assert.equal(first?.slice(0, 8), ['192.0.2.7', '5432', '5', '1', '0', '0', '0', '4']);
  assert.is(first?.at(-1), '9.000', 'the maximum is exact');
  assert.ok(Math.abs(Number(first?.[8]) / 3 - 1) < 0.045, 'the median is not further from 3 ms than 4.5 %');
  assert.equal(second, ['2001:db8::1', '443', '3', '0', '1', '1', '1', '0', '-', '-', '-', '-']);
  assert.equal(more, [['']]);
});

test('columns stay, so the tables of intervals have the same columns', () => {
  const table = tableOf('dest');
  const widths = (text: string) => text.split('\n').map((line) => line.indexOf('COUNT') + 5);
  const before = table(snapshot(row({ dest: '2001:db8:1:2:3:4:5:6' }, { refused: [1] })));
  const after = table(snapshot(row({ dest: '::1' }, { established: [1] })));
  assert.is(widths(after)[0], widths(before)[0]);
  assert.match(after, /^DEST +COUNT REFUSED RETR /);
  assert.match(after, /^::1 +1 +0 +0 /m);
});

test('--by all has no column for a key, and an interval without connects has the header only', () => {
  const table = tableOf();
  assert.match(table(snapshot()), /^COUNT RETR p50\(ms\) p90\(ms\) p99\(ms\) MAX\(ms\)\n$/);
});

test('a hostile name cannot control the terminal', () => {
  const rows = snapshot(row({ comm: 'a\x1b[2Jb\nc' }, { established: [1] }));
  for (const text of [tableOf('comm')(rows), [...histograms(rows)].join('')]) {
    assert.not(text.includes('\x1b'));
    assert.match(text, /a\?\[2Jb\?c/);
  }
  const [line = '', ...more] = snapshotLines({})(rows);
  assert.equal(more, []);
  assert.not(line.includes('\x1b'));
  assert.equal(JSON.parse(line).key, { comm: 'a\x1b[2Jb\nc' });
});

test('a histogram has a line for each power of two', () => {
  const latencies = new Latencies();
  for (const us of [3, 100, 100, 100, 130]) latencies.record(us * 1000);
  assert.equal(histogram(latencies).split('\n'), [
    '     usecs               : count     distribution',
    '         2 -> 3          : 1        |*************                           |',
    '         4 -> 7          : 0        |                                        |',
    '         8 -> 15         : 0        |                                        |',
    '        16 -> 30         : 0        |                                        |',
    '        31 -> 61         : 0        |                                        |',
    '        62 -> 122        : 3        |****************************************|',
    '       123 -> 244        : 1        |*************                           |',
    '',
  ]);
});

test('the lines of a histogram have each connect once, between their bounds', () => {
  const check = (values: number[]) => {
    const latencies = new Latencies();
    for (const ns of values) latencies.record(ns);
    const lines = [...histogram(latencies).matchAll(/^ +(\d+) -> (\d+|more) +: (\d+) /gm)];
    for (const [, low = '', high = '', count] of lines) {
      // Whole microseconds: the bound itself is up to a microsecond larger.
      const within = values.filter((ns) => {
        const us = ns / 1000;
        const slot = slotOf(ns);
        const octave = slot === 0 ? -1 : Math.floor((slot - 1) / 8);
        const [from, to] = [Number(low) - 1, high === 'more' ? Number.POSITIVE_INFINITY : Number(high) + 1];
        const lowest = octave < 0 ? 0 : 2 ** (FIRST_BUCKET / 8 + octave) * 1e6;
        return (
          lowest >= from &&
          lowest < to &&
          us >= from &&
          us <= to &&
          Math.floor(lowest) + (octave < 0 ? 0 : 1) === Number(low)
        );
      });
      assert.is(Number(count), within.length, `${low} ${high}`);
    }
    assert.is(
      lines.reduce((sum, [, , , count]) => sum + Number(count), 0),
      values.length,
    );
  };
  const ns = fc.oneof(fc.integer({ min: 0, max: 5_000_000 }), fc.integer({ min: 0, max: 300e9 }));
  fc.assert(fc.property(fc.array(ns, { minLength: 1, maxLength: 50 }), check));
});

test('histograms name the key, and the connects without an answer', () => {
  const lines = histograms(
    snapshot(
      row({ dest: '192.0.2.7', port: '80' }, { established: [1], 'timed-out': [1, 2] }),
      row({ dest: '192.0.2.8', port: '80' }, { killed: [1] }),
    ),
  );
  const text = [...lines].join('');
  assert.match(text, /^dest = 192\.0\.2\.7, port = 80\n {5}usecs .*\n.*\nnot answered: 2 timed-out\n\n/);
  assert.match(text, /\ndest = 192\.0\.2\.8, port = 80\nnot answered: 1 killed\n$/);
});

test('a row as JSON matches the schema, and its buckets have every connect', () => {
  const results = fc.dictionary(
    fc.constantFrom('established', 'refused', 'timed-out', 'EACCES', 'errno 4000'),
    fc.array(fc.double({ min: 0, max: 300_000, noNaN: true }), { minLength: 1 }),
    { minKeys: 1 },
  );
  fc.assert(
    fc.property(results, fc.nat(), (values, retransmits) => {
      const rows = [row({ user: 'root' }, values, retransmits)];
      const [line = ''] = snapshotLines({})({ ...snapshot(), rows });
      const object = JSON.parse(line);
      assert.equal([...Value.Errors(summarySchema(), object)], []);
      for (const [result, of] of Object.entries(values)) {
        const { count, buckets, below = 0, above = 0, max_ms } = object.results[result];
        assert.is(count, of.length);
        assert.is(
          buckets.reduce((sum: number, [, each]: number[]) => sum + (each ?? 0), below + above),
          count,
        );
        assert.ok(Math.abs(max_ms - Math.max(...of)) <= 1e-6);
        for (const [index, each] of buckets)
          assert.is(
            of.filter((ms) => slotOf(Math.round(ms * 1e6)) === index - FIRST_BUCKET + 1).length,
            each,
          );
      }
    }),
  );
});

test.run();
