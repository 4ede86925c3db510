/** The histogram of a key on the screen of `--top`. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import { bar, histogramLines } from '../../../src/cli/top/histogram.ts';
import { plain } from '../../../src/cli/top/line.ts';
import { columnsOf } from '../../../src/cli/width.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/top/histogram');

function latenciesOf(values: readonly number[]): Latencies {
  const latencies = new Latencies();
  for (const value of values) latencies.record(value);
  return latencies;
}

const LINE = /^ +([\d.]+) – +([\d.]+|more) ms +(\d+) +([\d.]+) % (█*▌?)((?: p\d\d)*)$/;

test('for any latencies and room, each connect is in the line of its range', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 2 ** 38 }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 4, max: 60 }),
      (values, rows) => {
        const lines = histogramLines(latenciesOf(values), { columns: 80, rows }).map(plain);
        assert.ok(lines.length <= rows, `${lines.length} lines`);
        let counted = 0;
        const marks: string[] = [];
        for (const [i, line] of lines.entries()) {
          assert.ok(columnsOf(line) <= 80, line);
          assert.match(line, LINE);
          const [, from = '', to = '', count = '', , drawn, names = ''] = LINE.exec(line) ?? [];
          counted += Number(count);
          assert.is(drawn === '', count === '0', 'a count has a bar');
          marks.push(...names.split(' ').filter(Boolean));
          if (i > 0) assert.is(LINE.exec(lines[i - 1] ?? '')?.[2], from, 'ranges meet');
          // The texts of boundaries have three digits.
          const [low, high] = [Number(from) * 0.99e6, to === 'more' ? Infinity : Number(to) * 1.01e6 + 1000];
          assert.ok(values.filter((value) => value >= low && value <= high).length >= Number(count), line);
        }
        assert.is(counted, values.length);
        assert.equal(marks, ['p50', 'p90', 'p99']);
      },
    ),
  );
});

test('the finest buckets that fit are used', () => {
  const values = Array.from({ length: 800 }, (_, i) => 100_000 * 2 ** (i / 100));
  const lines = (rows: number) => histogramLines(latenciesOf(values), { columns: 80, rows }).length;
  assert.equal(
    [100, 40, 20, 10].map(lines).map((count, i) => count <= ([100, 40, 20, 10][i] ?? 0)),
    Array(4).fill(true),
  );
  assert.ok(lines(100) >= 64, 'eight for each power of two');
  assert.ok(lines(40) > 20 && lines(20) > 10);
});

test('a bar has steps of half a column', () => {
  assert.equal(
    [0, 0.0001, 0.25, 0.3, 0.5, 1].map((share) => bar(share, 4)),
    ['', '▌', '█', '█', '██', '████'],
  );
  assert.is(bar(0.375, 4), '█▌');
});

test.run();
